package quic

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"time"
	"unicode/utf8"

	quicgo "github.com/quic-go/quic-go"

	"github.com/livenet/livenet/transport"
)

const (
	// maxCode is the largest code that a variable-length integer can carry
	// (RFC 9000, section 16).
	maxCode = 1<<62 - 1

	// maxText keeps CONNECTION_CLOSE within one packet of the smallest size that QUIC
	// allows. A longer one would never be sent.
	maxText = 1024

	// maxClosing bounds the closing period, and so how long a socket outlives its last
	// session. It is long enough for packets that the peer had sent before it got
	// CONNECTION_CLOSE.
	maxClosing = 250 * time.Millisecond
)

// A session is a QUIC connection. It has no goroutine of its own: context.AfterFunc cleans
// up when the connection ends. It is no transport.Acceptor, and its streams are no
// transport.Pollable, since quic-go has only blocking calls for streams and input.
type session struct {
	conn   *quicgo.Conn
	ep     *endpoint
	ctx    context.Context
	cancel context.CancelCauseFunc

	// accepting holds a token during AcceptStream. quic-go's AcceptStream wakes callers
	// through a channel of capacity one: if two calls begin just as two streams arrive,
	// one of them may not be woken.
	accepting chan struct{}

	received atomic.Uint64 // packets received at the latest Answered
}

var (
	_ transport.Session  = (*session)(nil)
	_ transport.Answerer = (*session)(nil)
)

func newSession(conn *quicgo.Conn, ep *endpoint) *session {
	ep.acquire()
	ep.socket.dropRefused.Store(true)
	s := &session{conn: conn, ep: ep, accepting: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	context.AfterFunc(conn.Context(), func() {
		s.end()
		ep.release(s.closingPeriod())
	})
	return s
}

// end cancels the session's context with the connection's error. It is idempotent.
func (s *session) end() {
	s.cancel(closeError(context.Cause(s.conn.Context())))
}

// closingPeriod returns how long this end still answers packets of a connection that it
// closed: three probe timeouts (RFC 9000, section 10.2; RFC 9002, section 6.2.1). It is 0
// if the peer closed or the connection was lost.
func (s *session) closingPeriod() time.Duration {
	if cause := s.cause(); cause.Origin != transport.Local {
		return 0
	}
	const granularity = time.Millisecond
	st := s.conn.ConnectionStats()
	pto := st.SmoothedRTT + max(4*st.MeanDeviation, granularity)
	return min(3*pto, maxClosing)
}

// cause returns how the session ended. It is called only after the end.
func (s *session) cause() *transport.CloseError {
	var e *transport.CloseError
	errors.As(context.Cause(s.ctx), &e)
	return e
}

func (s *session) Context() context.Context { return s.ctx }

func (s *session) Multiplexed() bool { return true }

// Answered reports whether a packet has come in since the last call. An idle peer sends
// packets only if Config.KeepAlivePeriod is set.
func (s *session) Answered() bool {
	n := s.conn.ConnectionStats().PacketsReceived
	return s.received.Swap(n) != n
}

// ConnectionState is that of TLS, as a *tls.Conn has it.
func (s *session) ConnectionState() tls.ConnectionState { return s.conn.ConnectionState().TLS }

func (s *session) LocalAddr() net.Addr { return s.conn.LocalAddr() }

// RemoteAddr is the peer's current address: a client may migrate (RFC 9000, section 9).
func (s *session) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

// Close sends the code (at most 2^62-1) and the text (its first 1024 bytes) to the peer. It
// drops what the streams have not delivered yet.
func (s *session) Close(code uint64, text string) error {
	s.conn.CloseWithError(quicgo.ApplicationErrorCode(min(code, maxCode)), clip(text))
	s.end() // the connection has ended; cancel the context before Close returns
	return nil
}

func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	n := maxText
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// OpenStream waits while as many streams are open as the peer allows.
func (s *session) OpenStream(ctx context.Context) (transport.Stream, error) {
	// OpenStreamSync fails if ctx has ended, even if a stream can be opened at once.
	str, err := s.conn.OpenStream()
	if _, full := errors.AsType[*quicgo.StreamLimitReachedError](err); full {
		str, err = s.conn.OpenStreamSync(ctx)
	}
	if err != nil {
		return nil, s.streamError(ctx, err)
	}
	return newStream(str, s), nil
}

// AcceptStream returns a stream once its first byte, or FIN, has come in.
func (s *session) AcceptStream(ctx context.Context) (transport.Stream, error) {
	select {
	case s.accepting <- struct{}{}:
	default:
		select {
		case s.accepting <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.ctx.Done():
			return nil, context.Cause(s.ctx)
		}
	}
	str, err := s.conn.AcceptStream(ctx) // returns a waiting stream even if ctx has ended
	<-s.accepting
	if err != nil {
		return nil, s.streamError(ctx, err)
	}
	return newStream(str, s), nil
}

// streamError returns ctx's error if err is that, and otherwise why the connection ended.
func (s *session) streamError(ctx context.Context, err error) error {
	if ctxErr := ctx.Err(); ctxErr != nil && errors.Is(err, ctxErr) {
		return ctxErr
	}
	return closeError(err)
}
