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

// A multiSession is a server's side of a session that carries several streams.
type multiSession struct {
	srv   *Server
	sess  transport.Session
	state state
	ctx   context.Context // of its handlers; never cancelled

	mu            sync.Mutex
	conns         map[*Conn]struct{}
	lastStreamEnd time.Duration // when the latest stream ended, on the engine's clock; 0: none has
	stopWatching  func() bool   // set while MaxStreams is reached, when only the session's end is watched
	refs          int           // held by the state, accepting, closing and each stream; at 0 the server removes the session
}

func newMultiSession(ctx context.Context, s *Server, sess transport.Session) *multiSession {
	x := &multiSession{srv: s, sess: sess, ctx: ctx, conns: make(map[*Conn]struct{}), refs: 2}
	x.state.cfg, x.state.owner = &s.Config, x
	x.state.usePolicy(s.sessionPolicy.Load())
	return x
}

// start accepts streams until the session ends. It needs no goroutine between streams if the
// session is a [transport.Acceptor].
func (x *multiSession) start() {
	if a, ok := transport.As[transport.Acceptor](x.sess); ok {
		a.WakeOnStream((*acceptor)(x))
		return
	}
	go x.accept(x.ctx)
}

// An acceptor is a multiSession as a [transport.Waker].
type acceptor multiSession

func (a *acceptor) Wake() { go (*multiSession)(a).accept(cancelled) }

// cancelled is a context with which AcceptStream returns only a stream that is there already.
var cancelled = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// accept accepts and serves streams until ctx ends.
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

// hasRoom reports whether one more stream may be accepted. If not, removeConn resumes
// accepting. Until then no AcceptStream would notice the session's end, so it is watched.
func (x *multiSession) hasRoom() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.conns) < x.srv.maxStreams() {
		return true
	}
	x.stopWatching = context.AfterFunc(x.sess.Context(), func() { x.transportEnded(nil) })
	return false
}

// dropRef drops a reference. With the last one, the server removes the session.
func (x *multiSession) dropRef() {
	x.mu.Lock()
	x.refs--
	last := x.refs == 0
	x.mu.Unlock()
	if last {
		x.srv.remove(&x.state)
	}
}

// serve serves a stream that was accepted.
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

// addConn adds a stream, and ends it if the session is draining or closing.
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

// removeConn removes a stream that has ended and whose handler has returned.
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

// transportEnded ends the state when the transport's session has ended.
func (x *multiSession) transportEnded(err error) {
	if cause := context.Cause(x.sess.Context()); cause != nil {
		err = cause
	}
	// A bare EOF is an orderly end; an EOF that a CloseError wraps is not.
	_, explained := errors.AsType[*transport.CloseError](err)
	if explained || !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		x.state.setPending(endingFrom(explain(err)))
	}
	x.state.finish()
}

// list returns the session's streams.
func (x *multiSession) list() []*Conn {
	x.mu.Lock()
	defer x.mu.Unlock()
	list := make([]*Conn, 0, len(x.conns))
	for c := range x.conns {
		list = append(list, c)
	}
	return list
}

// drain asks the peer to finish on each stream. The peer is to close the session: if this
// end did, unacknowledged data would be lost, and the transport doesn't say when there is
// none. A session without streams in the last 30 s is ended at once.
func (x *multiSession) drain() {
	x.mu.Lock() // addConn ends all further streams
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

// tcpSocket returns the TCP connection that carries all streams; nil: it is not TCP.
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

func (x *multiSession) pingable() (time.Duration, bool) { return 0, false } // a server does not rely on pings

// probe pings the peer on the first stream that can send a Ping, or samples its stack if
// acknowledgements are the evidence. It returns false if a stream's window is full.
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
		// A full window has cost up to controlTime. Don't try the next stream: the probes
		// of other sessions are waiting.
		if c.framed != nil && c.framed.out.blocked.Load() {
			return false
		}
	}
	return true
}

// teardown ends the streams and closes the transport's session, which sends the reason for
// all of them. That may wait for the peer, so it runs on a goroutine, for which Serve waits.
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
