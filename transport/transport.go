package transport

import (
	"context"
	"net"
	"time"
)

// A Transport makes listeners and sessions.
type Transport interface {
	// Listen binds addr, "host:port", and returns a listener. Port 0 means a free port.
	Listen(ctx context.Context, addr string) (Listener, error)

	// Dial opens a session to addr. The context bounds dialling and the handshake, not the
	// session.
	Dial(ctx context.Context, addr string) (Session, error)
}

// A Listener accepts sessions.
type Listener interface {
	// Accept waits for the next session. A slow or failed handshake does not delay
	// others. Accept may return a session before its handshake is done, or after it
	// failed: such a session's context has the cause. After Close, Accept returns an
	// error for which errors.Is(err, net.ErrClosed) holds.
	Accept(ctx context.Context) (Session, error)

	// Addr returns the bound address.
	Addr() net.Addr

	// Close stops accepting and frees the address. Accepted sessions stay open. It is
	// idempotent.
	Close() error
}

// An IdleTimeouter is a listener whose transport closes a session by itself when the
// peer has been silent, or has acknowledged nothing, for IdleTimeout; 0 means never. A
// policy with a longer timeout than that could never take effect.
type IdleTimeouter interface {
	IdleTimeout() time.Duration
}

// An Answerer is a session of several streams that knows whether the peer's transport
// stack still answers, even if its application sends nothing.
type Answerer interface {
	// Answered reports whether the peer's transport stack has answered since the last
	// call. It also sends the next ping, if the transport sends none by itself: see
	// [KeepAliver].
	Answered() bool
}

// A KeepAliver is a listener or session whose transport pings an idle peer once every
// KeepAlive; 0 means never.
type KeepAliver interface {
	KeepAlive() time.Duration
}

// A Session is what a transport accepts: a TCP connection, a QUIC connection,
// a yamux session. All its methods may be called at once from any goroutine.
type Session interface {
	// OpenStream opens a stream to the peer. On a transport whose session is
	// one stream, the first call of OpenStream or AcceptStream gets that stream;
	// any further OpenStream fails with [ErrSingleStream], and any further
	// AcceptStream waits for the end of the session.
	OpenStream(ctx context.Context) (Stream, error)

	// AcceptStream waits for a stream that the peer opened. Some transports return it only
	// when its first byte has come.
	AcceptStream(ctx context.Context) (Stream, error)

	// Multiplexed reports whether the session can carry several streams. If it can't, the
	// session and its only stream begin and end together.
	Multiplexed() bool

	LocalAddr() net.Addr

	// RemoteAddr returns the peer's address. It may change during a session: a QUIC client can migrate.
	RemoteAddr() net.Addr

	// Context is cancelled when the session ends. Its context.Cause is a [*CloseError].
	Context() context.Context

	// Close ends the session and all its streams. It sends code and text to the peer if
	// the transport can carry them. Only the first call has an effect.
	Close(code uint64, text string) error
}

// A Stream is one byte stream of a session.
type Stream interface {
	// Close ends both directions. What was written still reaches the peer, followed by
	// EOF. Blocked calls return at once. But if the stream is the whole session, input that comes
	// after Close may cause a reset, and the peer loses what it has not read. To avoid that,
	// call CloseWrite and read to EOF before Close.
	net.Conn

	// CloseWrite ends this direction: the peer reads EOF. Reading goes on.
	CloseWrite() error

	// Reset ends both directions at once and drops what is queued. The peer sees a
	// reset, with code if the transport can carry one.
	Reset(code uint64)
}
