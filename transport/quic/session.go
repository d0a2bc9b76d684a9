package quic

import (
	"context"
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

	// maxText keeps CONNECTION_CLOSE within one packet of the smallest size
	// that QUIC allows; a longer one would never be sent.
	maxText = 1024

	// maxClosing bounds the closing period, and with it how long a socket
	// outlives its session, where the round trip is long. What the peer had
	// under way by then has come in, which is what the period is for.
	maxClosing = 250 * time.Millisecond
)

// A session is a QUIC connection. It has no goroutine of its own: what is left
// to do at the connection's end runs off its context. It is no
// transport.Acceptor, nor are its streams transport.Pollable, since quic-go
// tells of streams and of input only to those who block.
type session struct {
	conn   *quicgo.Conn
	ep     *endpoint
	ctx    context.Context
	cancel context.CancelCauseFunc

	// accepting holds a token while somebody is in AcceptStream. quic-go wakes
	// waiters through a channel of one, so if two begin to wait just as two
	// streams arrive, one of them may sleep on.
	accepting chan struct{}

	received atomic.Uint64 // packets, as of the latest Answered
}

var (
	_ transport.Session  = (*session)(nil)
	_ transport.Answerer = (*session)(nil)
)

func newSession(conn *quicgo.Conn, ep *endpoint) *session {
	ep.hold()
	ep.socket.bears.Store(true)
	s := &session{conn: conn, ep: ep, accepting: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	context.AfterFunc(conn.Context(), func() {
		s.end()
		ep.release(s.closingPeriod())
	})
	return s
}

// end passes the connection's end on. It may be called more than once.
func (s *session) end() {
	s.cancel(closeError(context.Cause(s.conn.Context())))
}

// closingPeriod is how long this end still answers for a connection that it
// closed: three times the probe timeout (RFC 9000, section 10.2; RFC 9002,
// section 6.2.1). A connection that the peer closed or that was lost needs none.
func (s *session) closingPeriod() time.Duration {
	if cause := s.cause(); cause.Origin != transport.Local {
		return 0
	}
	const granularity = time.Millisecond
	st := s.conn.ConnectionStats()
	pto := st.SmoothedRTT + max(4*st.MeanDeviation, granularity)
	return min(3*pto, maxClosing)
}

// cause is how the session ended. It is for use after its end only.
func (s *session) cause() *transport.CloseError {
	var e *transport.CloseError
	errors.As(context.Cause(s.ctx), &e)
	return e
}

func (s *session) Context() context.Context { return s.ctx }

func (s *session) Multiplexed() bool { return true }

// Answered reports whether a packet has come in since the last call. What has the peer
// send one, if it is idle, is the config's KeepAlivePeriod.
func (s *session) Answered() bool {
	n := s.conn.ConnectionStats().PacketsReceived
	return s.received.Swap(n) != n
}

func (s *session) LocalAddr() net.Addr { return s.conn.LocalAddr() }

// RemoteAddr is the path in use now: a client may migrate (RFC 9000, section 9).
func (s *session) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

// Close tells the peer the code (at most 2^62-1) and the text (at most 1024
// bytes of it), and drops whatever the streams have not delivered yet.
func (s *session) Close(code uint64, text string) error {
	s.conn.CloseWithError(quicgo.ApplicationErrorCode(min(code, maxCode)), clip(text))
	s.end() // CloseWithError has waited for the end; the context shall show it
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

// OpenStream waits while the peer's limit on streams is reached.
func (s *session) OpenStream(ctx context.Context) (transport.Stream, error) {
	// OpenStreamSync looks at the context first; a ready stream beats it.
	str, err := s.conn.OpenStream()
	if _, full := errors.AsType[*quicgo.StreamLimitReachedError](err); full {
		str, err = s.conn.OpenStreamSync(ctx)
	}
	if err != nil {
		return nil, s.streamError(ctx, err)
	}
	return newStream(str, s), nil
}

// AcceptStream shows a stream once its first byte, or its end, has come in.
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
	str, err := s.conn.AcceptStream(ctx) // a ready stream beats the context
	<-s.accepting
	if err != nil {
		return nil, s.streamError(ctx, err)
	}
	return newStream(str, s), nil
}

// streamError translates why there is no stream: the context's end, or else
// the connection's.
func (s *session) streamError(ctx context.Context, err error) error {
	if ctxErr := ctx.Err(); ctxErr != nil && errors.Is(err, ctxErr) {
		return ctxErr
	}
	return closeError(err)
}
