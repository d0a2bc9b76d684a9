package liveness

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"github.com/livenet/livenet/transport"
)

// session is a server's side of a session that carries several streams: its
// life, and its streams.
type session struct {
	srv    *Server
	sess   transport.Session
	life   life
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu       sync.Mutex
	conns    map[*Conn]struct{}
	draining bool
	handlers sync.WaitGroup
}

func newSession(ctx context.Context, s *Server, sess transport.Session) *session {
	x := &session{srv: s, sess: sess, conns: make(map[*Conn]struct{})}
	x.ctx, x.cancel = context.WithCancelCause(ctx)
	x.life.cfg, x.life.policy, x.life.ledger, x.life.holder = &s.Config, s.sessionPolicy, &s.sessionCounts, x
	return x
}

// serve serves the session's streams until it ends, and waits for their
// handlers and until the end has been told.
func (x *session) serve() {
	defer x.life.stages.wait(isTold)
	defer x.handlers.Wait()
	for {
		stream, err := x.sess.AcceptStream(x.ctx)
		if err != nil {
			x.broken(err)
			return
		}
		if c, ctx := x.open(stream); c != nil {
			go x.run(ctx, c)
		}
	}
}

// open makes the connection of one of several streams, and the context of its
// handler, if it has one.
func (x *session) open(stream transport.Stream) (*Conn, context.Context) {
	c := x.srv.newConn(stream)
	c.muxed = true
	c.life.kind, c.life.parent, c.life.policy, c.life.ledger = KindStream, &x.life, x.srv.streamPolicy, &x.srv.streamCounts
	ctx := x.ctx
	if x.srv.Handler != nil {
		ctx, c.cancel = context.WithCancelCause(ctx)
	}
	c.life.begin()
	if !x.add(c) {
		e := Error{Reason: Draining}
		if end := x.life.ended.Load(); end != nil {
			e = *end
		}
		c.life.end(e)
		return nil, nil
	}
	return c, ctx
}

// add counts c among the session's connections, unless it is ending.
func (x *session) add(c *Conn) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.draining || x.life.ended.Load() != nil {
		return false
	}
	x.conns[c] = struct{}{}
	x.handlers.Add(1)
	return true
}

// run runs the handler on c, and ends c when it returns.
func (x *session) run(ctx context.Context, c *Conn) {
	defer x.handlers.Done()
	defer x.gone(c)
	x.srv.handle(ctx, c)
}

// gone takes c off the list; a session that drains ends with its last stream.
func (x *session) gone(c *Conn) {
	x.mu.Lock()
	delete(x.conns, c)
	last := x.draining && len(x.conns) == 0
	x.mu.Unlock()
	if last {
		x.life.close()
	}
}

// broken is the session's own end, seen by accepting.
func (x *session) broken(err error) {
	if cause := context.Cause(x.sess.Context()); cause != nil {
		err = cause
	}
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		x.life.close()
		return
	}
	x.life.note(explain(err))
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
	for _, c := range x.list() {
		waiting = c.drainNow() || waiting
	}
	if !waiting {
		x.life.close()
	}
}

func (x *session) addrs() (local, remote net.Addr) { return x.sess.LocalAddr(), x.sess.RemoteAddr() }

// witness is the kernel, which sees what all streams receive together.
func (x *session) witness() *witness {
	w := witnessOf(x.sess)
	if w != nil {
		w.shared = true
	}
	return w
}

// probe asks the peer over whichever stream can.
func (x *session) probe() {
	for _, c := range x.list() {
		if c.ping() {
			return
		}
		// A stream that fails may have cost its time; the next one is not worth
		// the same again, since this is asked for many sessions.
		if c.clogged.Load() {
			return
		}
	}
}

// shut ends the session: each stream with its farewell, then the whole.
func (x *session) shut(e *Error) {
	for _, c := range x.list() {
		c.life.end(*e)
	}
	x.cancel(e)
	x.sess.Close(e.Reason.Code(), e.Text)
}

func (x *session) ended() {}
