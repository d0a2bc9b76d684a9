package yamux

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/hashicorp/yamux"

	"github.com/livenet/livenet/transport"
)

// A session is yamux's, on a wire, on the one stream of an inner session. It
// has two goroutines, which yamux owns, and one of the wire's while there is
// something to send; Close waits for all of them.
type session struct {
	inner transport.Session
	mux   *yamux.Session
	wire  *wire

	ctx    context.Context
	cancel context.CancelCauseFunc
}

var (
	_ transport.Session  = (*session)(nil)
	_ transport.Acceptor = (*session)(nil)
)

// A role is an end of the connection. The streams that it opens have numbers
// of its parity, so that both can open some at once.
type role struct {
	parity uint32
	start  func(io.ReadWriteCloser, *yamux.Config) (*yamux.Session, error)
}

var (
	client = role{1, yamux.Client}
	server = role{0, yamux.Server}
)

func newSession(inner transport.Session, stream transport.Stream, as role) *session {
	s := &session{inner: inner}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.wire = newWire(stream, as.parity)
	s.wire.ended = s.end
	s.wire.hangUp = func(cause *transport.CloseError) { inner.Close(cause.Code, cause.Text) }
	s.wire.accept = s.accept
	conf := config
	if as.parity == server.parity {
		conf = serverConfig
	}
	s.wire.table.backlog = conf.AcceptBacklog
	s.wire.mu.Lock()
	defer s.wire.mu.Unlock()
	mux, err := as.start(s.wire, conf)
	if err != nil {
		panic(err) // the config is ours, and yamux looks at nothing else
	}
	s.mux = mux
	return s
}

// end says why the session ended, and has those who wait in streams find out.
func (s *session) end(cause *transport.CloseError) {
	s.cancel(cause)
	for _, stream := range s.wire.table.end() {
		stream.interrupt()
	}
	s.wire.table.wakeAcceptor()
}

// cause waits for the session's end, which is near, and returns why.
func (s *session) cause() error {
	<-s.ctx.Done()
	return context.Cause(s.ctx)
}

func (s *session) Context() context.Context { return s.ctx }
func (s *session) Multiplexed() bool        { return true }
func (s *session) LocalAddr() net.Addr      { return s.inner.LocalAddr() }
func (s *session) RemoteAddr() net.Addr     { return s.inner.RemoteAddr() }

// NetConn returns the stream beneath. Reading from it, writing to it or setting
// its deadlines breaks the session.
func (s *session) NetConn() net.Conn { return s.wire.conn }

// Close tells the peer a code of up to 65535; text is for this end only. What
// the streams have written may be lost. Whoever waits in one of them returns at
// once; Close itself takes up to a tenth of a second if the connection is stuck.
func (s *session) Close(code uint64, text string) error {
	cause := &transport.CloseError{Origin: transport.Local, Coded: true, Code: code, Text: text}
	s.wire.part(cause)
	s.mux.Close() // which closes the wire, once, and waits for its goroutines
	return nil
}

// OpenStream waits while as many streams opened by this end have not been
// accepted by the peer: 256, or 64 if the session was accepted. The peer sees the
// stream at once.
func (s *session) OpenStream(ctx context.Context) (transport.Stream, error) {
	opening := s.wire.table.opening()
	select { // a ready stream beats a cancelled context
	case opening <- struct{}{}:
	default:
		select {
		case opening <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.ctx.Done():
			return nil, context.Cause(s.ctx)
		}
	}
	// yamux has room as well, now or in a moment: it counts as the table does.
	inner, err := s.mux.OpenStream()
	if err != nil {
		return nil, s.openError(err, opening)
	}
	return s.attach(inner)
}

// openError says why there is no stream, and takes its token back.
func (s *session) openError(err error, opening <-chan struct{}) error {
	switch {
	case errors.Is(err, yamux.ErrRemoteGoAway):
		<-opening
		return &transport.CloseError{Origin: transport.Peer, Err: err}
	case errors.Is(err, yamux.ErrStreamsExhausted):
		<-opening
		return err
	}
	return s.cause()
}

// accept queues a stream for AcceptStream. It is called by the wire's Read, and
// waits for yamux's sending goroutine, which waits for nobody.
func (s *session) accept() {
	s.wire.mu.Lock() // until newSession knows mux
	mux := s.mux
	s.wire.mu.Unlock()
	inner, err := mux.AcceptStream()
	if err != nil {
		return // the session's end
	}
	if !s.wire.table.enqueue(inner) {
		s.wire.reset(inner.StreamID(), noCode)
	}
}

func (s *session) AcceptStream(ctx context.Context) (transport.Stream, error) {
	for {
		if s.ctx.Err() != nil {
			return nil, context.Cause(s.ctx)
		}
		err := ctx.Err()
		inner, more := s.wire.table.dequeue(err == nil)
		if inner != nil { // a ready stream beats a cancelled context
			return s.attach(inner)
		}
		if err != nil {
			return nil, err
		}
		select {
		case <-more:
		case <-ctx.Done():
		case <-s.ctx.Done():
		}
	}
}

// WakeOnStream takes no notice of those who wait in AcceptStream meanwhile.
func (s *session) WakeOnStream(w transport.Waker) { s.wire.table.wakeOnStream(w) }

func (s *session) attach(inner *yamux.Stream) (transport.Stream, error) {
	stream := &stream{inner: inner, session: s}
	if !s.wire.table.attach(inner.StreamID(), stream) {
		return nil, s.cause()
	}
	s.wire.answer(stream)
	return stream, nil
}
