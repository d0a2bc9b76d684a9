package yamux

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/livenet/livenet/transport"
)

// ErrUnread is why a stream was reset whose unread input took the most of the
// session's receive budget when that was used up and nobody read.
var ErrUnread = errors.New("yamux: the session's receive budget is used up by input that nobody reads")

const (
	// pauseLimit is how long a session whose budget is used up waits for somebody
	// to read before it resets a stream.
	pauseLimit = time.Second

	// maxLingering is how many streams may be closed here and still open at the
	// peer. Beyond it the oldest is reset.
	maxLingering = 1024
)

// A session is the library's, on a wire, on the one stream of an inner session.
// It has two goroutines, which the library owns, and one of the send queue's
// while there is something to send; Close waits for all of them.
type session struct {
	inner  transport.Session
	mux    *yamux.Session
	wire   *wire
	ctx    context.Context
	cancel context.CancelCauseFunc

	unanswered chan struct{} // a token for each stream opened here and neither accepted nor reset by the peer

	mu        sync.Mutex         // guards what follows, and the streams
	streams   map[uint32]*stream // those that are open on the wire, or have input to read
	lingering []uint32           // by age
	budget    int                // bytes of memory that unread input may take
	held      int                // and does
	freed     chan struct{}      // signalled when some was freed; nil: nobody ever waited
	after     []func()           // what unlock is to do

	// Streams that the peer opened and nobody has accepted. They are taken from
	// the library as they come, whose own queue can't be waited for without a
	// goroutine; but it is accepting that answers them, for the peer may have so
	// many unanswered and no more.
	incoming []*stream
	more     chan struct{} // signalled when there are some; nil: nobody ever waited
	waker    transport.Waker
}

var (
	_ transport.Session  = (*session)(nil)
	_ transport.Acceptor = (*session)(nil)
)

// A role is an end of the connection. The streams that it opens have numbers of
// its parity, so that both can open some at once.
type role struct {
	parity uint32
	config *yamux.Config
	start  func(io.ReadWriteCloser, *yamux.Config) (*yamux.Session, error)
}

var (
	client = role{1, libraryConfig(backlog), yamux.Client}
	server = role{0, libraryConfig(serverBacklog), yamux.Server}
)

func newSession(inner transport.Session, conn transport.Stream, as role, config *Config) *session {
	s := &session{
		inner: inner, unanswered: make(chan struct{}, as.config.AcceptBacklog),
		streams: make(map[uint32]*stream), budget: config.receiveBudget(),
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.wire = &wire{session: s, conn: conn, parity: as.parity, in: reader{conn: conn}}
	s.wire.out = sendQueue{mu: &s.mu, conn: conn, failed: s.wire.sendFailed}
	s.mu.Lock() // until mux is known
	defer s.mu.Unlock()
	var err error
	if s.mux, err = as.start(s.wire, as.config); err != nil {
		panic(err) // the config is ours, and the library looks at nothing else
	}
	return s
}

// unlock lets go of mu and does what was put off until then.
func (s *session) unlock() {
	after := s.after
	s.after = nil
	s.mu.Unlock()
	for _, do := range after {
		do()
	}
}

// end has those who wait in the session find out why it ended, and then the peer.
func (s *session) end(cause *transport.CloseError) {
	s.mu.Lock()
	defer s.unlock()
	for _, stream := range s.streams {
		stream.end(sessionEnd, cause)
	}
	s.wakeAcceptor()
	if cause.Origin == transport.Local && cause.Coded && cause.Code <= maxCode {
		s.wire.out.put(newHeader(typeGoAway, 0, 0, uint32(cause.Code)), nil)
	}
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

// Close tells the peer a code of up to 2^32-1; text is for this end only. What
// the streams have written may be lost. Whatever waits in one of them returns at
// once; Close itself takes up to a tenth of a second if the connection is stuck.
func (s *session) Close(code uint64, text string) error {
	s.cancel(&transport.CloseError{Origin: transport.Local, Coded: true, Code: code, Text: text})
	s.mux.Close() // which closes the wire, once, and waits for its goroutines
	return nil
}

// OpenStream waits while as many streams opened by this end have not been
// accepted by the peer: 256, or 64 if the session was accepted. The peer sees the
// stream at once.
func (s *session) OpenStream(ctx context.Context) (transport.Stream, error) {
	select { // a ready stream beats a cancelled context
	case s.unanswered <- struct{}{}:
	default:
		select {
		case s.unanswered <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.ctx.Done():
			return nil, context.Cause(s.ctx)
		}
	}
	inner, err := s.mux.OpenStream() // which has room, too, now or in a moment
	s.mu.Lock()
	defer s.unlock()
	switch {
	case err != nil && !s.mux.IsClosed(): // the peer is going away, or there are no numbers left
		<-s.unanswered
		return nil, &transport.CloseError{Origin: transport.Peer, Err: err}
	case err != nil || s.ctx.Err() != nil:
		return nil, s.cause()
	}
	stream := s.add(inner.StreamID())
	stream.inner, stream.unanswered = inner, true
	s.wire.out.put(newHeader(typeWindowUpdate, flagSYN, stream.id, 0), nil)
	return stream, nil
}

// add makes a stream. Mu is held, as it is for all below that is unexported, but
// for queue.
func (s *session) add(id uint32) *stream {
	s.streams[id] = &stream{session: s, id: id, sendWindow: window, recvWindow: window}
	return s.streams[id]
}

// queue takes a stream from the library that the peer has opened. It is called by
// the receiving goroutine, and waits for the sending one, which waits for nothing.
func (s *session) queue(stream *stream) {
	s.mu.Lock()
	mux := s.mux
	s.mu.Unlock()
	inner, err := mux.AcceptStream()
	if err != nil {
		return // the session's end
	}
	s.mu.Lock()
	defer s.unlock()
	if stream.inner = inner; len(s.incoming) == backlog {
		stream.end(reset, &transport.CloseError{Origin: transport.Local, Reset: true})
		return
	}
	s.incoming = append(s.incoming, stream)
	s.wakeAcceptor()
}

func (s *session) AcceptStream(ctx context.Context) (transport.Stream, error) {
	s.mu.Lock()
	defer s.unlock()
	for {
		switch {
		case s.ctx.Err() != nil:
			signal(s.more) // for another that waits
			return nil, context.Cause(s.ctx)
		case len(s.incoming) > 0: // a ready stream beats a cancelled context
			stream := s.incoming[0]
			s.incoming = slices.Delete(s.incoming, 0, 1)
			s.wakeAcceptor() // another
			if stream.state != closed {
				s.wire.out.put(newHeader(typeWindowUpdate, flagACK, stream.id, 0), nil)
			}
			return stream, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
		s.wait(&s.more, time.Time{}, ctx.Done())
	}
}

// WakeOnStream takes no notice of those who wait in AcceptStream meanwhile.
func (s *session) WakeOnStream(w transport.Waker) {
	s.mu.Lock()
	defer s.unlock()
	s.waker = w
	s.wakeAcceptor()
}

// wakeAcceptor wakes whatever waits for a stream, if it is time.
func (s *session) wakeAcceptor() {
	if len(s.incoming) == 0 && s.ctx.Err() == nil {
		return
	}
	signal(s.more)
	if s.waker != nil {
		s.after = append(s.after, s.waker.Wake)
		s.waker = nil
	}
}

// linger notes that a stream lingers, and resets the oldest that does if there
// are too many.
func (s *session) linger(stream *stream) {
	s.lingering = append(s.lingering, stream.id)
	if len(s.lingering) > maxLingering {
		s.streams[s.lingering[0]].move(reset, 0)
	}
}

// forget is for a stream of which nothing is left.
func (s *session) forget(stream *stream) {
	delete(s.streams, stream.id)
	if i := slices.Index(s.lingering, stream.id); i >= 0 {
		s.lingering = slices.Delete(s.lingering, i, i+1)
	}
}

// hold counts memory that unread input takes, or no more takes if n is negative.
func (s *session) hold(n int) {
	if s.held += n; n < 0 {
		signal(s.freed)
	}
}

// makeRoom waits until somebody has read, when the budget has no room for a piece
// of input of a stream's. If nobody reads, the stream is reset whose unread input
// takes the most.
func (s *session) makeRoom(stream *stream) {
	for stream.r.err == nil && s.held+blockSize > s.budget && s.ctx.Err() == nil {
		deadline := time.Now().Add(pauseLimit)
		s.wait(&s.freed, deadline, s.ctx.Done())
		if !passed(deadline) {
			continue
		}
		largest := stream
		for _, other := range s.streams {
			if other.in.held > largest.in.held {
				largest = other
			}
		}
		largest.end(reset, &transport.CloseError{Origin: transport.Lost, Reset: true, Err: ErrUnread})
	}
}

// wait lets go of mu until wake is signalled, done is closed or the deadline comes.
func (s *session) wait(wake *chan struct{}, deadline time.Time, done <-chan struct{}) {
	if *wake == nil {
		*wake = make(chan struct{}, 1)
	}
	var due <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		due = timer.C
	}
	c := *wake
	s.unlock()
	defer s.mu.Lock()
	select {
	case <-c:
	case <-done:
	case <-due:
	}
}

func passed(deadline time.Time) bool {
	return !deadline.IsZero() && !time.Now().Before(deadline)
}

// signal wakes one that waits, now or soon. The channel may be nil.
func signal(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
