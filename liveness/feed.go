package liveness

import (
	"errors"
	"sync"
	"time"

	"github.com/livenet/livenet/transport"
)

// This file is the way of a connection whose server has no Handler, but Data:
// it is fed. Where the stream is pollable it is parked between its pieces:
// nothing of it runs, and it holds no buffer.

// feeds reports whether c is to be fed without a goroutine.
func (s *Server) feeds(c *Conn) bool {
	if s.Data == nil {
		return false
	}
	_, ok := transport.Poll(c.stream.(transport.Stream))
	return ok
}

// The bits of a Conn's fed word. Whoever of two sets, or clears, its bit last
// takes the connection off the list of its server or session: the one who ended
// it, or the one who fed it.
const (
	isFed   = 1 << iota // without a goroutine of its own, all its life
	feeding             // somebody is at it
	hasEnded
)

func (c *Conn) isFed() bool { return c.fed.Load()&isFed != 0 }

// startFeeding begins the life of a connection that is fed.
func (c *Conn) startFeeding() {
	c.fed.Store(isFed | feeding)
	c.life.begin()
	if c.enter() {
		c.park()
	}
}

// session is the one of which c is a stream, or nil.
func (c *Conn) session() *session {
	if c.life.parent == nil {
		return nil
	}
	return c.life.parent.holder.(*session)
}

func (c *Conn) enter() bool {
	if x := c.session(); x != nil {
		return x.enter(c)
	}
	return c.srv.enter(&c.life)
}

func (c *Conn) leave() {
	if x := c.session(); x != nil {
		x.leave(c)
		return
	}
	c.srv.leave(&c.life)
}

// park lets go of a connection that has nothing to read until it has, or until
// it ends.
func (c *Conn) park() {
	if c.pause() {
		p, _ := transport.Poll(c.stream.(transport.Stream))
		p.WakeOnRead((*fedConn)(c))
	}
}

// pause reports false if the connection has ended: then there is nothing left
// to do with it.
func (c *Conn) pause() bool {
	if c.fed.And(^uint32(feeding))&hasEnded != 0 {
		c.leave()
		return false
	}
	return true
}

// ended is the other way to the end of a connection that is fed.
func (c *Conn) ended() {
	if c.isFed() && c.fed.Or(hasEnded)&feeding == 0 {
		c.leave()
	}
}

// A fedConn is a Conn as whoever wakes it sees it.
type fedConn Conn

func (f *fedConn) Wake() {
	if f.fed.Or(feeding)&hasEnded == 0 {
		go (*Conn)(f).feed()
	}
}

// feed hands what there is to Data, and parks.
func (c *Conn) feed() {
	more := false
	defer func() { // also when Data ends its goroutine
		if more {
			c.park()
		} else {
			c.Close()
			c.pause()
		}
	}()
	more = c.feedAll()
}

// feedAll reports false if the connection is to be closed.
func (c *Conn) feedAll() (more bool) {
	defer c.rescue()
	p, _ := transport.Poll(c.stream.(transport.Stream))
	b := meals.Get().(*[]byte)
	defer meals.Put(b)
	for {
		if fed, err := c.feedPiece(*b, p.TryRead); !fed || err != nil {
			return fed && err == transport.ErrWouldBlock
		}
	}
}

// feedWaiting feeds a connection from a goroutine of its own, which holds no
// buffer while it waits, if the stream has a way to wait without.
func (c *Conn) feedWaiting() {
	w, ok := transport.AsWaiter(c.stream.(transport.Stream))
	var b *[]byte
	for {
		if ok && !c.ready() {
			w.WaitRead() // an error here is Read's to tell
		}
		if b == nil {
			b = meals.Get().(*[]byte)
		}
		fed, err := c.feedPiece(*b, c.stream.Read)
		if ok || !fed || err != nil {
			meals.Put(b)
			b = nil
		}
		switch {
		case !fed:
			return
		case err == nil:
		case timedOut(err) && c.End() == nil: // its end may say that, too
			c.SetReadDeadline(time.Time{}) // it was for reads that Data has made
		default:
			return
		}
	}
}

// ready reports whether there is something to read though the stream has nothing.
func (c *Conn) ready() bool {
	if !c.hasCodec() {
		return false
	}
	c.rmu.Lock()
	defer c.rmu.Unlock()
	return c.rest != nil || c.over.Load() != nil
}

// feedPiece reads once, and hands what it got to Data. It reports false if Data
// has failed: whatever its error, that is the end. Err is reading's.
func (c *Conn) feedPiece(b []byte, read func([]byte) (int, error)) (fed bool, err error) {
	n, err := c.take(b, read)
	if n > 0 {
		if err := c.srv.Data(c, b[:n]); err != nil {
			c.failed(err)
			return false, nil
		}
	}
	return true, err
}

// take reads a piece with one call of read.
func (c *Conn) take(b []byte, read func([]byte) (int, error)) (int, error) {
	if c.hasCodec() {
		return c.takeCoded(b, read)
	}
	n, err := read(b)
	if err == transport.ErrWouldBlock {
		c.took(n, nil) // TLS may have both
		return n, err
	}
	return c.took(n, err)
}

// failed takes note of Data's error, unless it is one that came from here.
func (c *Conn) failed(err error) {
	var known *Error
	if errors.As(err, &known) {
		return
	}
	e := Error{Reason: Internal, Err: err}
	if noted := c.life.noted.Load(); noted != nil && noted.Reason == Draining && noted.Initiator == Local {
		c.life.end(e) // what it has written is no whole answer
		return
	}
	c.life.note(&e)
}

// meals are the buffers that Data gets.
var meals = sync.Pool{New: func() any {
	b := make([]byte, chunk)
	return &b
}}
