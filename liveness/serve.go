package liveness

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/transport"
)

// accept accepts until ctx ends or l fails for good.
func (s *Server) accept(ctx, sessions context.Context, l transport.Listener) error {
	backoff := firstBackoff
	for {
		sess, err := l.Accept(ctx)
		switch {
		case err == nil:
			backoff = firstBackoff
			s.admit(sessions, sess)
			if ctx.Err() != nil {
				return nil
			}
			continue
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrNoPolicy), isClosed(err):
			return err
		}
		s.emit(Event{What: AcceptFailed, Addr: l.Addr(), Err: err})
		timer := time.NewTimer(backoff)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		backoff = min(2*backoff, lastBackoff)
	}
}

// admit grants a lease to an accepted session and starts to serve it. It doesn't wait for
// the peer.
func (s *Server) admit(ctx context.Context, sess transport.Session) {
	if sess.Multiplexed() {
		x := newMultiSession(ctx, s, sess)
		x.state.begin()
		s.add(&x.state)
		x.state.announceThen(x.start)
		return
	}
	stream, err := sess.AcceptStream(ctx) // there is one from the beginning
	if err != nil {
		sess.Close(Internal.Code(), "")
		s.emit(Event{What: AcceptFailed, Err: err})
		return
	}
	c := s.newConn(stream)
	c.state.usePolicy(s.sessionPolicy.Load())
	c.serve(ctx)
}

// serve grants a lease to a server's connection, and parks it or starts its goroutine. It
// returns false if the session has ended. It doesn't wait for the peer.
func (c *Conn) serve(ctx context.Context) bool {
	parks := c.srv.canPark(c)
	if parks {
		c.bits.Or(parkable | active)
	} else {
		c.initContext(ctx)
	}
	if !c.begin() {
		return false
	}
	c.register()
	switch {
	case parks && c.srv.OnOpen != nil:
		go func() {
			c.state.announce()
			c.openParked()
		}()
		return true
	case parks:
		c.state.announceThen(c.park)
		return true
	}
	go func() {
		defer c.unregister()
		c.state.announce()
		c.srv.handle(c)
	}()
	return true
}

// newConn makes the connection of a stream. Its state has not begun.
func (s *Server) newConn(stream transport.Stream) *Conn {
	c := &Conn{srv: s, stream: stream}
	c.state.cfg, c.state.owner = &s.Config, c
	if code := s.codec(); code != codec.Raw {
		hello := s.hello()
		c.framed = newFramed(c, code.Server(hello), s.maxBeats(hello.Beat))
	}
	return c
}

// handle runs the handler on c, closes c, and waits until c is closed.
func (s *Server) handle(c *Conn) {
	defer c.awaitClosed()
	defer c.Close()
	defer c.recoverPanic()
	switch {
	case c.End() != nil: // ended before its goroutine ran
	case c.ctx != nil:
		s.Handler(c.ctx, c)
	default:
		c.serveData()
	}
}

// serveData is what handle does for a server with Data.
func (c *Conn) serveData() {
	defer func() {
		c.Close()
		c.awaitClosed()
		if c.srv.OnClose != nil {
			c.srv.OnClose(c)
		}
	}()
	defer c.recoverPanic()
	if c.opened() {
		c.deliverBlocking()
	}
}

// recoverPanic ends a connection whose handler panics. If the connection has ended before,
// no event reports the panic, so it is logged.
func (c *Conn) recoverPanic() {
	if r := recover(); r != nil {
		err := &panicError{r, debug.Stack()}
		if !c.state.end(ending{Error: Error{Reason: Internal, Err: err}}) {
			c.state.logFailure(err)
		}
	}
}

// panicError is the Err of a connection whose handler panicked.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string {
	return fmt.Sprintf("the handler panicked: %v\n%s", p.value, p.stack)
}
