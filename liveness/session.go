package liveness

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livenet/livenet/transport"
)

// session is a server's side of a session that carries several streams: its
// life, and its streams.
type session struct {
	srv  *Server
	sess transport.Session
	life life
	ctx  context.Context // has its handlers' values, and does not end

	telling atomic.Int32 // times that its streams are being told of an end
	untaken atomic.Int32 // farewells in a row that the peer did not take
	lost    atomic.Int32 // and in all

	mu       sync.Mutex
	conns    map[*Conn]struct{}
	lastTold chan struct{} // closed when whoever began last has told its streams; nil: nobody has
	draining bool
	left     time.Duration // when a stream ended last, on the engine's clock; 0: none has
	full     func() bool   // stops looking for the session's end while no more streams are accepted; nil: they are
	holds    int           // its life, accepting, and each stream; without any the server is done with it
}

func newSession(ctx context.Context, s *Server, sess transport.Session) *session {
	x := &session{srv: s, sess: sess, ctx: ctx, conns: make(map[*Conn]struct{}), holds: 2}
	x.life.cfg, x.life.policy, x.life.ledger, x.life.holder = &s.Config, s.sessionPolicy, &s.sessionCounts, x
	return x
}

// start has streams accepted until the session ends: without a goroutine, while
// there are none, if the transport can do that.
func (x *session) start() {
	if a, ok := x.sess.(transport.Acceptor); ok {
		a.WakeOnStream((*acceptor)(x))
		return
	}
	go x.accept(x.ctx)
}

// An acceptor is a session as whoever wakes it sees it.
type acceptor session

func (a *acceptor) Wake() { go (*session)(a).accept(passed) }

// passed is a context that waits for nothing.
var passed = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// accept serves the streams that there are until ctx ends.
func (x *session) accept(ctx context.Context) {
	for x.hasRoom() {
		stream, err := x.sess.AcceptStream(ctx)
		switch {
		case err == nil:
			x.serve(stream)
		case ctx == passed && errors.Is(err, context.Canceled) && x.sess.Context().Err() == nil:
			x.start()
			return
		default:
			x.broken(err)
			x.release()
			return
		}
	}
}

// hasRoom reports whether the session may have one more stream. If not, accepting
// goes on when one has ended. Until then nobody would see the session's end.
func (x *session) hasRoom() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.conns) < x.srv.maxStreams() {
		return true
	}
	x.full = context.AfterFunc(x.sess.Context(), func() { x.broken(nil) })
	return false
}

// release lets go of one of the holds.
func (x *session) release() {
	x.mu.Lock()
	x.holds--
	last := x.holds == 0
	x.mu.Unlock()
	if last {
		x.srv.leave(&x.life)
	}
}

// serve begins to serve a stream.
func (x *session) serve(stream transport.Stream) {
	c := x.open(stream)
	if x.srv.feeds(c) {
		c.startFeeding()
		return
	}
	c.handled(x.ctx)
	if c.life.begin(); x.enter(c) {
		go func() {
			defer x.leave(c)
			x.srv.handle(c)
		}()
	}
}

// open makes the connection of one of several streams.
func (x *session) open(stream transport.Stream) *Conn {
	c := x.srv.newConn(stream)
	c.muxed = true
	c.life.kind, c.life.parent, c.life.policy, c.life.ledger = KindStream, &x.life, x.srv.streamPolicy, &x.srv.streamCounts
	return c
}

// enter counts c among the session's connections, or ends it with the session.
func (x *session) enter(c *Conn) bool {
	x.mu.Lock()
	if !x.draining && x.life.ended.Load() == nil {
		defer x.mu.Unlock()
		x.conns[c] = struct{}{}
		x.holds++
		return true
	}
	x.mu.Unlock()
	e := Error{Reason: Draining}
	if end := x.life.ended.Load(); end != nil {
		e = end.ofStream()
	}
	c.life.end(e)
	return false
}

// leave is for a connection that has ended, and is served no more. A session that
// drains ends with the last one that had said something.
func (x *session) leave(c *Conn) {
	defer x.release()
	x.mu.Lock()
	delete(x.conns, c)
	x.left = x.srv.engine().time()
	draining, wasFull := x.draining, x.full
	x.full = nil
	x.mu.Unlock()
	if draining {
		x.closeSoon()
	}
	if wasFull != nil {
		wasFull()
		x.start()
	}
}

// broken is the session's own end, seen by accepting.
func (x *session) broken(err error) {
	if cause := context.Cause(x.sess.Context()); cause != nil {
		err = cause
	}
	// An EOF that a transport found beneath is the peer's end, and not an orderly one.
	_, explained := errors.AsType[*transport.CloseError](err)
	if explained || !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		x.life.note(explain(err))
	}
	x.life.close()
}

// list is the session's connections.
func (x *session) list() []*Conn {
	x.mu.Lock()
	defer x.mu.Unlock()
	list := make([]*Conn, 0, len(x.conns))
	for c := range x.conns {
		list = append(list, c)
	}
	return list
}

// drain tells the peer that this end is going away, and lets it finish.
func (x *session) drain() {
	x.life.note(&Error{Reason: Draining})
	x.mu.Lock()
	x.draining = true
	x.mu.Unlock()
	waiting := false
	x.tell(func(c *Conn) { waiting = c.drainNow() || waiting })
	if !waiting {
		x.closeSoon()
	}
}

// closeSoon ends a session that drains and has no more streams to wait for. That would drop what
// is still under way on them, and nothing tells when the peer has taken it: so the
// peer has a moment, from when the last stream ended, to end the session itself.
func (x *session) closeSoon() {
	if x.life.ended.Load() != nil {
		return
	}
	x.mu.Lock()
	left := x.left
	busy := false // with a stream that had said nothing when it was asked
	for c := range x.conns {
		if busy = c.life.in.Load() > 0; busy {
			break
		}
	}
	x.mu.Unlock()
	wait := left + lingerTime - x.srv.engine().time()
	switch {
	case busy: // the last one comes here
	case left != 0 && wait > 0:
		time.AfterFunc(wait, x.closeSoon)
	default:
		x.life.close()
	}
}

func (x *session) addrs() (local, remote net.Addr) { return x.sess.LocalAddr(), x.sess.RemoteAddr() }

// witness is that of the connection which carries all the streams, if it is TCP.
func (x *session) witness() *witness {
	w := witnessOf(x.sess)
	if w != nil {
		w.shared = true
	}
	return w
}

func (x *session) unasked() (time.Duration, bool) { return 0, false } // it judges by what the client does by itself

// hasSaid reports whether a stream that is there has said it.
func (x *session) hasSaid() bool { return slices.ContainsFunc(x.list(), (*Conn).hasSaid) }

// probe asks the peer over whichever stream can.
func (x *session) probe() bool {
	for _, c := range x.list() {
		if c.ping() {
			return true
		}
		// A stream that fails may have cost its time; the next one is not worth
		// the same again, since this is asked for many sessions.
		if c.hasCodec() && c.clogged.Load() {
			return false
		}
	}
	return true
}

// mostUntaken is how many farewells in a row a peer need not take until the
// others are not tried: there may be very many, and whoever says them has others
// to end. One alone may be of a stream that is not read.
const mostUntaken = 8

// tell has all streams told something that may take a farewell: one thing after
// the other, since each has to wait for the farewell before it on its stream, and
// whoever takes none is known by the first.
func (x *session) tell(f func(*Conn)) {
	if x.telling.Add(1) == 1 {
		x.untaken.Store(0)
		x.lost.Store(0)
	}
	defer x.telling.Add(-1)
	told := make(chan struct{})
	defer close(told)
	x.mu.Lock()
	before := x.lastTold
	x.lastTold = told
	x.mu.Unlock()
	if before != nil {
		<-before
	}
	for _, c := range x.list() {
		f(c)
	}
}

// told takes note of whether the peer has taken a farewell.
func (x *session) told(said bool) {
	if said {
		x.untaken.Store(0)
	} else {
		x.untaken.Add(1)
		x.lost.Add(1)
	}
}

// farewellTime is how long a farewell may take. The more were lost where all are being
// told, the less it is worth to wait for another: all together take little longer than
// a few.
func (x *session) farewellTime() time.Duration {
	if x.telling.Load() == 0 {
		return farewellTime
	}
	return farewellTime * mostUntaken / time.Duration(mostUntaken+x.lost.Load())
}

// takesNone reports whether a farewell is in vain.
func (x *session) takesNone() bool { return x.telling.Load() > 0 && x.untaken.Load() >= mostUntaken }

// shut ends the session: each stream with its farewell, then the whole.
func (x *session) shut(e *Error) {
	x.tell(func(c *Conn) { c.life.end(e.ofStream()) })
	x.sess.Close(e.Reason.Code(), e.Text)
}

func (x *session) ended() { x.release() }
