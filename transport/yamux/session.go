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

// ErrUnread is the error of a stream that was reset because the session's receive budget
// was used up, no stream was read, and this one had the most unread input.
var ErrUnread = errors.New("yamux: the session's receive budget is used up by unread input")

const maxLingering = 1024 // streams that may be closed here and still open at the peer

// A session is a session of the library, on a wire, on the only stream of an inner session.
// The library has two goroutines. A third exists while there is something to send, and a
// fourth during a ping. Close waits for all of them.
type session struct {
	inner  transport.Session
	mux    *yamux.Session
	wire   *wire
	ctx    context.Context
	cancel context.CancelCauseFunc

	tasks    sync.WaitGroup // the ping under way
	pinging  atomic.Bool
	answered atomic.Bool // a ping was answered since the latest Answered

	unacked chan struct{} // a token for each stream opened here that the peer has not acknowledged

	mu          sync.Mutex         // guards the fields below, and the streams
	noPings     bool               // Close was called: no ping may begin
	streams     map[uint32]*stream // streams that are open on the wire or have unread input
	lingering   []uint32           // oldest first
	budget      int                // bytes of memory that unread input may take
	held        int                // bytes of memory that it takes
	readTimeout time.Duration      // how long handlers have to read when the budget is used up
	freed       notifier
	after       []func() // called by unlock, without the lock

	// Streams that the peer opened and AcceptStream has not returned. Waiting in the
	// library's queue takes a goroutine, so they are taken from it at once. But they are
	// acknowledged only by AcceptStream, because the peer may open only so many
	// unacknowledged streams.
	incoming []*stream
	more     notifier
}

// A notifier wakes one goroutine that waits for a change, and a Waker.
type notifier struct {
	c     chan struct{} // nil if nothing ever waited
	waker transport.Waker
}

// The two ends of a connection, by the parity of the IDs of the streams that each opens.
const (
	server = iota
	client
)

func newSession(inner transport.Session, conn transport.Stream, role uint32, config *Config) *session {
	start, lib := yamux.Server, serverConfig
	if role == client {
		start, lib = yamux.Client, clientConfig
	}
	s := &session{inner: inner, streams: make(map[uint32]*stream), budget: config.receiveBudget(), readTimeout: time.Second}
	s.unacked = make(chan struct{}, lib.AcceptBacklog)
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.wire = &wire{session: s, conn: conn, parity: role, in: reader{conn: conn}}
	s.wire.out = sendQueue{mu: &s.mu, conn: conn, failed: s.wire.sendFailed}
	s.mu.Lock() // until mux is set
	defer s.mu.Unlock()
	var err error
	if s.mux, err = start(s.wire, lib); err != nil {
		panic(err) // the library only checks its config
	}
	return s
}

// unlock unlocks mu and then calls the functions in after.
func (s *session) unlock() {
	after := s.after
	s.after = nil
	s.mu.Unlock()
	for _, do := range after {
		do()
	}
}

// end ends all streams, wakes AcceptStream, and sends a Go Away if this end gave a code.
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

// NetConn returns the underlying stream. Reading from it, writing to it or setting its
// deadlines breaks the session.
func (s *session) NetConn() net.Conn { return s.wire.conn }

// Close sends a code of up to 2^32-1 to the peer; text stays at this end. What the streams
// have written may be lost. Calls blocked in a stream return at once. Close itself takes up
// to 100 ms if writing to the connection is blocked.
func (s *session) Close(code uint64, text string) error {
	s.cancel(&transport.CloseError{Origin: transport.Local, HasCode: true, Code: code, Text: text})
	s.mux.Close() // closes the wire, once, and waits for the library's goroutines
	s.mu.Lock()
	s.noPings = true
	s.mu.Unlock()
	s.tasks.Wait()
	return nil
}

// Answered reports whether a ping was answered since the last call, and sends the next one,
// unless one is under way. A ping that is never answered stays under way until the session
// ends.
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

// OpenStream waits while 256 streams opened by this end have not been accepted by the peer,
// or 64 if the session was accepted. The peer can accept the stream at once.
func (s *session) OpenStream(ctx context.Context) (transport.Stream, error) {
	select { // first without ctx, which may have ended
	case s.unacked <- struct{}{}:
	default:
		select {
		case s.unacked <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.ctx.Done():
			return nil, context.Cause(s.ctx)
		}
	}
	inner, err := s.mux.OpenStream() // blocks at most until the library has processed an ACK
	s.mu.Lock()
	defer s.unlock()
	switch {
	case err != nil && !s.mux.IsClosed(): // the peer is going away, or the stream IDs are used up
		<-s.unacked
		return nil, &transport.CloseError{Origin: transport.Peer, Err: err}
	case err != nil || s.ctx.Err() != nil:
		<-s.ctx.Done() // cancelled by now or very soon
		return nil, context.Cause(s.ctx)
	}
	stream := s.add(inner.StreamID())
	stream.inner, stream.unacked = inner, true
	s.wire.out.put(newHeader(typeWindowUpdate, flagSYN, stream.id, 0), nil)
	return stream, nil
}

// add makes a stream. The caller holds mu, as for all unexported methods below except queue
// and signal.
func (s *session) add(id uint32) *stream {
	s.streams[id] = &stream{session: s, id: id, sendWindow: window, recvWindow: window}
	return s.streams[id]
}

// queue takes a stream that the peer has opened from the library and appends it to
// incoming. It is called by the library's receiving goroutine, and may wait for the sending
// one, which never blocks.
func (s *session) queue(stream *stream) {
	s.mu.Lock()
	mux := s.mux
	s.mu.Unlock()
	inner, err := mux.AcceptStream()
	if err != nil {
		return // the session has ended
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
			s.notify(&s.more) // another waiting AcceptStream
			return nil, context.Cause(s.ctx)
		case len(s.incoming) > 0: // checked before ctx
			stream := s.incoming[0]
			s.incoming = slices.Delete(s.incoming, 0, 1)
			s.wakeAcceptor() // another waiting AcceptStream
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

// WakeOnStream wakes w even if an AcceptStream that waits takes the stream.
func (s *session) WakeOnStream(w transport.Waker) {
	s.mu.Lock()
	defer s.unlock()
	s.more.waker = w
	s.wakeAcceptor()
}

// wakeAcceptor notifies of streams to accept, or of the session's end.
func (s *session) wakeAcceptor() {
	if len(s.incoming) > 0 || s.ctx.Err() != nil {
		s.notify(&s.more)
	}
}

// remove removes a stream that is closed and has no unread input.
func (s *session) remove(stream *stream) {
	delete(s.streams, stream.id)
	if i := slices.Index(s.lingering, stream.id); i >= 0 {
		s.lingering = slices.Delete(s.lingering, i, i+1)
	}
}

// addHeld adds n to the memory that unread input takes. If n is negative, it notifies
// waitForBudget.
func (s *session) addHeld(n int) {
	if s.held += n; n < 0 {
		s.freed.signal()
	}
}

// waitForBudget waits until the budget has room for another block of input for stream. If
// no input is read for readTimeout, it resets the stream with the most unread input.
func (s *session) waitForBudget(stream *stream) {
	full := func() bool { return stream.r.err == nil && s.held+blockSize > s.budget && s.ctx.Err() == nil }
	for full() {
		deadline := time.Now().Add(s.readTimeout)
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

// wait unlocks mu until n is notified, done is closed or the deadline passes.
func (s *session) wait(n *notifier, deadline time.Time, done <-chan struct{}) {
	if n.c == nil {
		n.c = make(chan struct{}, 1)
	}
	var due <-chan time.Time
	if !deadline.IsZero() {
		due = time.After(time.Until(deadline))
	}
	s.unlock()
	defer s.mu.Lock()
	select {
	case <-n.c:
	case <-done:
	case <-due:
	}
}

func passed(deadline time.Time) bool {
	return !deadline.IsZero() && !time.Now().Before(deadline)
}

// signal wakes one goroutine that waits, or the next one that does.
func (n *notifier) signal() {
	select {
	case n.c <- struct{}{}:
	default:
	}
}

// notify signals n and wakes its Waker.
func (s *session) notify(n *notifier) {
	n.signal()
	if n.waker != nil {
		s.after = append(s.after, n.waker.Wake)
		n.waker = nil
	}
}
