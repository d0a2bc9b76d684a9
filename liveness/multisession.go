package liveness

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/transport"
)

// A multiSession is a server's side of a session that carries several streams: its
// state, and its streams.
type multiSession struct {
	srv   *Server
	sess  transport.Session
	state state
	ctx   context.Context // has its handlers' values, and does not end

	mu            sync.Mutex
	conns         map[*Conn]struct{}
	lastStreamEnd time.Duration // when a stream ended last, on the engine's clock; 0: none has
	stopWatching  func() bool   // stops looking for the session's end while no more streams are accepted; nil: they are
	refs          int           // its state, accepting, closing, and each stream; without any the server is done with it
}

func newMultiSession(ctx context.Context, s *Server, sess transport.Session) *multiSession {
	x := &multiSession{srv: s, sess: sess, ctx: ctx, conns: make(map[*Conn]struct{}), refs: 2}
	x.state.cfg, x.state.owner = &s.Config, x
	x.state.usePolicy(s.sessionPolicy.Load())
	return x
}

// start has streams accepted until the session ends: without a goroutine, while
// there are none, if the transport can do that.
func (x *multiSession) start() {
	if a, ok := transport.As[transport.Acceptor](x.sess); ok {
		a.WakeOnStream((*acceptor)(x))
		return
	}
	go x.accept(x.ctx)
}

// An acceptor is a session as whoever wakes it sees it.
type acceptor multiSession

func (a *acceptor) Wake() { go (*multiSession)(a).accept(cancelled) }

// cancelled is a context that waits for nothing.
var cancelled = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// accept serves the streams that there are until ctx ends.
func (x *multiSession) accept(ctx context.Context) {
	for x.hasRoom() {
		stream, err := x.sess.AcceptStream(ctx)
		switch {
		case err == nil:
			x.serve(stream)
		case ctx == cancelled && errors.Is(err, context.Canceled) && x.sess.Context().Err() == nil:
			x.start()
			return
		default:
			x.transportEnded(err)
			x.dropRef()
			return
		}
	}
}

// hasRoom reports whether the session may have one more stream. If not, accepting
// goes on when one has ended. Until then nobody would see the session's end.
func (x *multiSession) hasRoom() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.conns) < x.srv.maxStreams() {
		return true
	}
	x.stopWatching = context.AfterFunc(x.sess.Context(), func() { x.transportEnded(nil) })
	return false
}

// dropRef lets go of one of the holds.
func (x *multiSession) dropRef() {
	x.mu.Lock()
	x.refs--
	last := x.refs == 0
	x.mu.Unlock()
	if last {
		x.srv.remove(&x.state)
	}
}

// serve begins to serve a stream.
func (x *multiSession) serve(stream transport.Stream) {
	c := x.srv.newConn(stream)
	c.multiplexed = true
	c.state.parent = &x.state
	if p := x.srv.streamPolicy.Load(); p != nil {
		c.state.usePolicy(p)
	}
	if !c.serve(x.ctx) {
		stream.Close()
	}
}

// addConn counts c among the session's connections, and ends it if the session is ending.
func (x *multiSession) addConn(c *Conn) {
	x.mu.Lock()
	x.conns[c] = struct{}{}
	x.refs++
	refused := x.state.phase.Load() != open
	x.mu.Unlock()
	if !refused {
		return
	}
	e := ending{Error: Error{Reason: Draining}}
	if end := x.state.ended.Load(); end != nil {
		e = end.ofStream()
	}
	c.state.end(e)
}

// removeConn is for a connection that has ended, and is served no more.
func (x *multiSession) removeConn(c *Conn) {
	defer x.dropRef()
	x.mu.Lock()
	delete(x.conns, c)
	x.lastStreamEnd = x.srv.engine().time()
	wasFull := x.stopWatching
	x.stopWatching = nil
	x.mu.Unlock()
	if wasFull != nil {
		wasFull()
		x.start()
	}
}

// transportEnded is the session's own end, seen by accepting.
func (x *multiSession) transportEnded(err error) {
	if cause := context.Cause(x.sess.Context()); cause != nil {
		err = cause
	}
	// An EOF that a transport found beneath is the peer's end, and not an orderly one.
	_, explained := errors.AsType[*transport.CloseError](err)
	if explained || !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		x.state.setPending(endingFrom(explain(err)))
	}
	x.state.finish()
}

// list is the session's connections.
func (x *multiSession) list() []*Conn {
	x.mu.Lock()
	defer x.mu.Unlock()
	list := make([]*Conn, 0, len(x.conns))
	for c := range x.conns {
		list = append(list, c)
	}
	return list
}

// drain asks the peer to finish on each stream. It then closes the session: what is
// still under way would be dropped if this end did, and nothing tells when the peer
// has taken it. A session that has nothing under way is ended at once.
func (x *multiSession) drain() {
	x.mu.Lock() // no stream enters from here on
	x.state.reach(draining)
	last := x.lastStreamEnd
	x.mu.Unlock()
	busy := last != 0 && x.srv.engine().time()-last < lingerWhole.time
	for _, c := range x.list() {
		busy = c.sendGoAway() || busy
	}
	if !busy {
		x.state.end(ending{Error: Error{Reason: Draining}})
	}
}

func (x *multiSession) addrs() (local, remote net.Addr) {
	return x.sess.LocalAddr(), x.sess.RemoteAddr()
}

func (x *multiSession) preparePolicy(p Policy) (sample time.Duration) {
	if x.srv.Evidence != codec.Acks {
		return 0
	}
	return sampleInterval(x.sess, p)
}

// tcpSocket is that of the connection which carries all the streams, if it is TCP.
func (x *multiSession) tcpSocket() *tcpSocket {
	s := tcpSocketOf(x.sess)
	if s != nil {
		s.shared = true
	}
	return s
}

func (x *multiSession) lastHeard() (ago time.Duration, sure, ok bool) {
	if x.srv.Evidence == codec.Acks && x.state.sample(x.sess, x.state.in.Load() > 0) {
		return 0, false, true
	}
	return x.tcpSocket().lastHeard(x.srv.Evidence, x.state.in.Load() > 0)
}

func (x *multiSession) session() transport.Session { return x.sess }
func (x *multiSession) transportConn() any         { return x.sess }

func (x *multiSession) counters() *counters { return &x.srv.sessionCounts }

func (x *multiSession) pingable() (time.Duration, bool) { return 0, false } // it judges by what the client does by itself

// probe asks the peer over whichever stream can. Where its stack is asked, that does.
func (x *multiSession) probe() bool {
	if x.srv.Evidence == codec.Acks {
		if _, ok := transport.As[transport.Answerer](x.sess); ok {
			x.state.sample(x.sess, x.state.in.Load() > 0)
			return true
		}
	}
	for _, c := range x.list() {
		if c.ping() {
			return true
		}
		// A stream whose window is full may have cost its time; the next one is not
		// worth the same again, since this is asked for many sessions.
		if c.framed != nil && c.framed.out.blocked.Load() {
			return false
		}
	}
	return true
}

// teardown ends the session, and its streams with it: the transport tells the peer the
// reason for all of them. That may wait for the peer, for as long as the transport lets
// it: the server waits for it, and whoever ends the session does not.
func (x *multiSession) teardown(e *ending) {
	for _, c := range x.list() {
		c.state.end(e.ofStream())
	}
	x.mu.Lock()
	x.refs++
	x.mu.Unlock()
	go func() {
		defer x.dropRef()
		closeSession(x.sess, e.Reason.Code(), e.Text, e.abrupt)
	}()
}

func (x *multiSession) released() { x.dropRef() }
