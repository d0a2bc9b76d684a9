package yamux

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/livenet/livenet/transport"
)

// ErrUnread is why a stream was reset whose unread input took the most of the
// session's receive budget when that was used up and nobody read.
var ErrUnread = errors.New("yamux: the session's receive budget is used up by input that nobody reads")

const maxLingering = 1024 // how many streams may be closed here and still open at the peer

// A session is the library's, on a wire, on the one stream of an inner session.
// It has two goroutines, which the library owns, one of the send queue's while there is
// something to send, and one while a ping is under way; Close waits for all of them.
type session struct {
	inner  transport.Session
	mux    *yamux.Session
	wire   *wire
	ctx    context.Context
	cancel context.CancelCauseFunc

	tasks    sync.WaitGroup // the ping that is under way
	pinging  atomic.Bool
	answered atomic.Bool // a ping was, since the latest Answered

	unanswered chan struct{} // a token for each stream opened here that the peer has not answered

	mu        sync.Mutex         // guards what follows, and the streams
	noPings   bool               // Close waits for the one that is under way
	streams   map[uint32]*stream // those that are open on the wire, or have input to read
	lingering []uint32           // by age
	budget    int                // bytes of memory that unread input may take
	held      int                // and does
	pause     time.Duration      // how long somebody may take to read when that is all
	freed     bell
	after     []func() // what unlock is to do

	// Streams that the peer opened and nobody has accepted. The library's queue can't
	// be waited for without a goroutine, so they are taken from there at once; but it
	// is accepting that answers them, for the peer may have so many unanswered.
	incoming []*stream
	more     bell
}

// A bell wakes one that waits for something.
type bell struct {
	c     chan struct{} // nil if nothing ever waited
	waker transport.Waker
}

// The two ends of a connection, by the parity of the numbers of the streams that
// each opens.
const (
	server = iota
	client
)

func newSession(inner transport.Session, conn transport.Stream, as uint32, config *Config) *session {
	start, lib := yamux.Server, serverConfig
	if as == client {
		start, lib = yamux.Client, clientConfig
	}
	s := &session{inner: inner, streams: make(map[uint32]*stream), budget: config.receiveBudget(), pause: time.Second}
	s.unanswered = make(chan struct{}, lib.AcceptBacklog)
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.wire = &wire{session: s, conn: conn, parity: as, in: reader{conn: conn}}
	s.wire.out = sendQueue{mu: &s.mu, conn: conn, failed: s.wire.sendFailed}
	s.mu.Lock() // until mux is known
	defer s.mu.Unlock()
	var err error
	if s.mux, err = start(s.wire, lib); err != nil {
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
	if cause.Origin == transport.Local && cause.HasCode && cause.Code <= maxCode {
		s.wire.out.put(newHeader(typeGoAway, 0, 0, uint32(cause.Code)), nil)
	}
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
	s.cancel(&transport.CloseError{Origin: transport.Local, HasCode: true, Code: code, Text: text})
	s.mux.Close() // which closes the wire, once, and waits for its goroutines
	s.mu.Lock()
	s.noPings = true
	s.mu.Unlock()
	s.tasks.Wait()
	return nil
}

// Answered pings the peer, unless a ping is under way, and reports whether one was
// answered since the last call. An unanswered ping ends with the session.
func (s *session) Answered() bool {
	s.mu.Lock()
	if !s.noPings && s.pinging.CompareAndSwap(false, true) {
		s.tasks.Go(s.ping)
	}
	s.mu.Unlock()
	return s.answered.Swap(false)
}

func (s *session) ping() {
	if _, err := s.mux.Ping(); err == nil {
		s.answered.Store(true)
	}
	s.pinging.Store(false)
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
		<-s.ctx.Done() // which is near
		return nil, context.Cause(s.ctx)
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
			s.ring(&s.more) // for another that waits
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
	s.more.waker = w
	s.wakeAcceptor()
}

// wakeAcceptor wakes whatever waits for a stream, if it is time.
func (s *session) wakeAcceptor() {
	if len(s.incoming) > 0 || s.ctx.Err() != nil {
		s.ring(&s.more)
	}
}

// forget is for a stream of which nothing is left.
func (s *session) forget(stream *stream) {
	delete(s.streams, stream.id)
	if i := slices.Index(s.lingering, stream.id); i >= 0 {
		s.lingering = slices.Delete(s.lingering, i, i+1)
	}
}

// hold counts memory that unread input takes, or, if n is negative, took.
func (s *session) hold(n int) {
	if s.held += n; n < 0 {
		s.freed.signal()
	}
}

// makeRoom waits until somebody has read, when the budget has no room for a piece
// of input of a stream's. If nobody reads, the stream is reset whose unread input
// takes the most.
func (s *session) makeRoom(stream *stream) {
	full := func() bool { return stream.r.err == nil && s.held+blockSize > s.budget && s.ctx.Err() == nil }
	for full() {
		deadline := time.Now().Add(s.pause)
		if s.wait(&s.freed, deadline, s.ctx.Done()); full() && passed(deadline) {
			largest := stream
			for _, other := range s.streams {
				if other.in.held > largest.in.held {
					largest = other
				}
			}
			largest.end(reset, &transport.CloseError{Origin: transport.Lost, Reset: true, Fault: transport.BufferFull, Err: ErrUnread})
		}
	}
}

// wait lets go of mu until the bell rings, done is closed or the deadline comes.
func (s *session) wait(b *bell, deadline time.Time, done <-chan struct{}) {
	if b.c == nil {
		b.c = make(chan struct{}, 1)
	}
	var due <-chan time.Time
	if !deadline.IsZero() {
		due = time.After(time.Until(deadline))
	}
	s.unlock()
	defer s.mu.Lock()
	select {
	case <-b.c:
	case <-done:
	case <-due:
	}
}

func passed(deadline time.Time) bool {
	return !deadline.IsZero() && !time.Now().Before(deadline)
}

// signal wakes one that waits, now or soon.
func (b *bell) signal() {
	select {
	case b.c <- struct{}{}:
	default:
	}
}

// ring has the waker wake as well.
func (s *session) ring(b *bell) {
	b.signal()
	if b.waker != nil {
		s.after = append(s.after, b.waker.Wake)
		b.waker = nil
	}
}
