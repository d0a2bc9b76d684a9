package liveness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/transport"
)

// session is a server's side of one session: its life, and its streams.
type session struct {
	srv    *Server
	sess   transport.Session
	life   *life
	kernel atomic.Pointer[witness] // set before the lease is granted, or with the only stream
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu       sync.Mutex
	conns    map[*Conn]struct{}
	draining bool
	handlers sync.WaitGroup
}

func newSession(ctx context.Context, s *Server, sess transport.Session) *session {
	x := &session{srv: s, sess: sess, conns: make(map[*Conn]struct{})}
	if w := witnessOf(sess); w != nil {
		w.shared = true
		x.kernel.Store(w)
	}
	x.ctx, x.cancel = context.WithCancelCause(ctx)
	x.life = &life{
		cfg: &s.Config, policy: s.policy(s.Policy), kind: KindSession, holder: x,
		ledger: &s.sessionCounts, local: sess.LocalAddr(), remote: sess.RemoteAddr(),
	}
	return x
}

// serve serves the session's streams until it ends, and waits for their
// handlers and until the end has been told.
func (x *session) serve() {
	defer x.life.over.Wait()
	defer x.handlers.Wait()
	if !x.sess.Multiplexed() {
		x.serveOnly()
		return
	}
	for {
		stream, err := x.sess.AcceptStream(x.ctx)
		if err != nil {
			x.ended(err)
			return
		}
		if c := x.open(stream); c != nil {
			go x.run(c)
		}
	}
}

// serveOnly serves a session that is one stream: their life is one, too.
func (x *session) serveOnly() {
	stream, err := x.sess.AcceptStream(x.ctx)
	if err != nil {
		x.ended(err)
		return
	}
	c := x.newConn(stream)
	c.life = x.life
	if w := witnessOf(stream); w != nil {
		c.kernel = w
		x.kernel.Store(w) // the engine may be asking already
	}
	if x.add(c) {
		x.run(c)
	}
}

// open makes the connection of one of several streams.
func (x *session) open(stream transport.Stream) *Conn {
	c := x.newConn(stream)
	c.muxed = true
	c.ctx, c.cancel = context.WithCancelCause(x.ctx)
	c.life = &life{
		cfg: &x.srv.Config, kind: KindStream, parent: x.life, holder: c,
		ledger: &x.srv.streamCounts, local: stream.LocalAddr(), remote: stream.RemoteAddr(),
	}
	if x.srv.Streams != nil {
		c.life.policy = x.srv.policy(x.srv.Streams)
	}
	c.life.begin()
	if !x.add(c) {
		e := Error{Reason: Draining}
		if end := x.life.ended.Load(); end != nil {
			e = *end
		}
		c.life.end(e)
		return nil
	}
	return c
}

func (x *session) newConn(stream transport.Stream) *Conn {
	c := &Conn{cfg: &x.srv.Config, stream: stream, ctx: x.ctx}
	if code := x.srv.codec(); code != codec.Raw {
		hello := x.hello()
		c.coder = code.Server(hello)
		c.allowed.rate = c.cfg.maxBeats(hello.Beat)
	}
	return c
}

// hello is what the server states of itself: how long it bears silence, and
// how often it wants a beat in that time. Three chances are customary: one may
// be lost, and one late.
func (x *session) hello() codec.Hello {
	h := codec.Hello{Evidence: x.srv.Evidence}
	for _, p := range []Policy{x.srv.Policy, x.srv.Streams} {
		if p == nil {
			continue
		}
		if d, ok := patience(p); ok && (h.Timeout == 0 || d < h.Timeout) {
			h.Timeout, h.Beat = d, d/beatsPerTimeout
		}
	}
	return h
}

const beatsPerTimeout = 3

// add counts c among the session's connections, unless it is ending.
func (x *session) add(c *Conn) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.draining && c.muxed || x.life.ended.Load() != nil {
		return false
	}
	x.conns[c] = struct{}{}
	x.handlers.Add(1)
	return true
}

// run runs the handler on c, and ends c when it returns.
func (x *session) run(c *Conn) {
	defer x.handlers.Done()
	defer c.life.over.Wait()
	defer x.gone(c)
	defer c.Close()
	defer func() {
		if r := recover(); r != nil {
			c.life.end(Error{Reason: Internal, Err: &panicked{r}})
		}
	}()
	x.srv.Handler(c.ctx, c)
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

// ended is the session's own end, seen by accepting.
func (x *session) ended(err error) {
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

func (x *session) witness() *witness { return x.kernel.Load() }

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
		if c.life == x.life {
			x.cancel(e) // before anyone is woken
			c.shut(e)
		} else {
			c.life.end(*e)
		}
	}
	x.cancel(e)
	x.sess.Close(e.Reason.Code(), e.Text)
}

// panicked is the error of a handler that panicked.
type panicked struct{ value any }

func (p *panicked) Error() string { return fmt.Sprintf("the handler panicked: %v", p.value) }
