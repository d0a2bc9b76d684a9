package transport

import (
	"context"
	"net"
	"time"
)

// A Transport makes listeners and sessions.
type Transport interface {
	// Listen binds addr ("host:port"; port 0 asks for a free one).
	Listen(ctx context.Context, addr string) (Listener, error)

	// Dial opens a session to addr. The context bounds the dialling, handshake
	// included, and not the session.
	Dial(ctx context.Context, addr string) (Session, error)
}

// A Listener accepts sessions.
type Listener interface {
	// Accept waits for the next session. A handshake that takes long, or fails,
	// holds up nobody else's; its session may be accepted all the same, and ends
	// with the cause. After Close it returns an error for which
	// errors.Is(err, net.ErrClosed) holds.
	Accept(ctx context.Context) (Session, error)

	// Addr is the bound address.
	Addr() net.Addr

	// Close stops accepting and frees the address. Sessions that were accepted
	// live on. It is idempotent.
	Close() error
}

// An Impatient listener is one whose transport ends a session by itself when
// its peer was silent, or acknowledged nothing, for Patience; 0 means never.
// Whoever judges sessions by a policy must know, or it would be pre-empted.
type Impatient interface {
	Patience() time.Duration
}

// An Answerer is a session of several streams that can tell whether the peer's end of
// the transport still answers, whatever the applications do.
type Answerer interface {
	// Answered reports whether the peer has answered since the last call. It asks the
	// peer again, where the transport doesn't do that by itself: see [KeepAliver].
	Answered() bool
}

// A KeepAliver is a listener, or a session, whose transport asks an idle peer for an
// answer every KeepAlive; 0 means that it doesn't.
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

	// AcceptStream waits for a stream that the peer opened. Some transports do
	// not show a stream to the peer before its first byte.
	AcceptStream(ctx context.Context) (Stream, error)

	// Multiplexed reports whether the session can carry several streams. One
	// that can't is its stream: they begin and end together.
	Multiplexed() bool

	LocalAddr() net.Addr

	// RemoteAddr may change while a session lives, where a transport migrates.
	RemoteAddr() net.Addr

	// Context ends with the session. Its cause (context.Cause) is a
	// [*CloseError] then.
	Context() context.Context

	// Close ends the session and all its streams. The peer is told code and
	// text where the transport can carry them. It is idempotent: the first call
	// wins.
	Close(code uint64, text string) error
}

// A Stream is one byte stream of a session.
type Stream interface {
	// Close ends both directions: what was written still reaches the peer,
	// followed by EOF; blocked calls return at once. Where the session is this one
	// stream, input that comes later may still cost the peer what it has not read: to a
	// peer that goes on sending, end with CloseWrite, and read to EOF first.
	net.Conn

	// CloseWrite ends this direction: the peer reads EOF. Reading goes on.
	CloseWrite() error

	// Reset ends both directions at once and drops what is queued. The peer
	// sees code where the transport can carry it, and a reset otherwise.
	Reset(code uint64)
}
