package liveness

import (
	"errors"
	"sync"
	"time"

	"github.com/livenet/livenet/transport"
)

// This file is the way of a connection whose server has no Handler, but Data: it is
// message-driven. Where the stream is pollable it is parked between the messages:
// no goroutine of it runs, and it holds no buffer.

// canPark reports whether c is to be served without a goroutine.
func (s *Server) canPark(c *Conn) bool {
	if s.Data == nil {
		return false
	}
	_, ok := transport.As[transport.Pollable](c.stream)
	return ok
}

// The bits of a Conn. A parked connection is removed from its container when hasEnded is set
// and active is not, by the goroutine that changes the second of the two.
const (
	parkable        = 1 << iota // served by Data, without a goroutine while idle
	active                      // a goroutine serves the parkable connection
	hasEnded                    // the Closed event of the parkable connection was emitted
	peerEnded                   // EOF was read
	renewedByApp                // the application called Renew
	acksAreEvidence             // acknowledgements of the peer's kernel are evidence
	inData                      // a call of Data is running
	waitingToRead               // WriteTo waits for input, without readLock
	wrapped                     // the stream was given to NewConn or NewListener
	noHandler                   // neither Handler nor Data serves it: removed from its container at its end
)

func (c *Conn) isParked() bool { return c.bits.Load()&parkable != 0 }

// A container has connections that end with it.
type container interface {
	addConn(c *Conn)
	removeConn(c *Conn)
}

// container is what c is listed in, or nil.
func (c *Conn) container() container {
	switch {
	case c.state.parent != nil:
		return c.state.parent.owner.(container)
	case c.srv != nil:
		return c.srv
	}
	return nil
}

func (c *Conn) register() {
	if l := c.container(); l != nil {
		l.addConn(c)
	}
}

func (c *Conn) unregister() {
	if c.isParked() && c.srv.OnClose != nil {
		go func() { // it may be the engine that ended the connection
			defer c.removed()
			c.srv.OnClose(c)
		}()
		return
	}
	c.removed()
}

func (c *Conn) removed() {
	if l := c.container(); l != nil {
		l.removeConn(c)
	}
}

// openParked is the beginning of a parked connection with an OnOpen.
func (c *Conn) openParked() {
	opened := false
	defer func() { // also when OnOpen panics, or ends its goroutine
		if opened {
			c.park()
		} else {
			c.Close()
			c.deactivate()
		}
	}()
	defer c.recoverPanic()
	opened = c.opened()
}

// opened calls OnOpen. False: there is to be no call of Data.
func (c *Conn) opened() bool {
	if c.srv.OnOpen == nil {
		return true
	}
	if err := c.srv.OnOpen(c); err != nil {
		c.dataFailed(err)
		return false
	}
	return true
}

// park lets go of a connection that has nothing to read until it has, or until
// it ends.
func (c *Conn) park() {
	if c.deactivate() {
		p, _ := transport.As[transport.Pollable](c.stream)
		p.WakeOnRead((*parkedConn)(c))
	}
}

// deactivate reports false if the connection has ended: then there is nothing left
// to do with it.
func (c *Conn) deactivate() bool {
	if c.bits.And(^uint32(active))&hasEnded != 0 {
		c.unregister()
		return false
	}
	return true
}

// released is the other way to the end of a parked connection.
func (c *Conn) released() {
	if c.bits.Load()&noHandler != 0 {
		c.unregister()
	}
	if c.isParked() && c.bits.Or(hasEnded)&active == 0 {
		c.unregister()
	}
}

// A parkedConn is a Conn as whoever wakes it sees it.
type parkedConn Conn

func (p *parkedConn) Wake() {
	if p.bits.Or(active)&hasEnded == 0 {
		go (*Conn)(p).serveParked()
	}
}

// serveParked hands what there is to Data, and parks.
func (c *Conn) serveParked() {
	more := false
	defer func() { // also when Data ends its goroutine
		if more {
			c.park()
		} else {
			c.Close()
			c.deactivate()
		}
	}()
	more = c.deliverAll()
}

// deliverAll reports false if the connection is to be closed.
func (c *Conn) deliverAll() (more bool) {
	defer c.recoverPanic()
	p, _ := transport.As[transport.Pollable](c.stream)
	b := dataBuffers.Get().(*[]byte)
	defer dataBuffers.Put(b)
	for {
		if fed, err := c.deliver(*b, p.TryRead); !fed || err != nil {
			return fed && err == transport.ErrWouldBlock
		}
	}
}

// deliverBlocking feeds a connection from a goroutine of its own, which holds no
// buffer while it waits, if the stream has a way to wait without.
func (c *Conn) deliverBlocking() {
	w, ok := transport.As[transport.Waiter](c.stream)
	var b *[]byte
	for {
		if ok && !c.ready() {
			w.WaitRead() // an error here is Read's to tell
		}
		if b == nil {
			b = dataBuffers.Get().(*[]byte)
		}
		fed, err := c.deliver(*b, c.stream.Read)
		if ok || !fed || err != nil {
			dataBuffers.Put(b)
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
	if c.framed == nil {
		return false
	}
	c.readLock.Lock()
	defer c.readLock.Unlock()
	return c.framed.in.ready()
}

// deliver reads once, and hands what it got to Data. It reports false if Data
// has failed: whatever its error, that is the end. Err is reading's.
func (c *Conn) deliver(b []byte, read func([]byte) (int, error)) (fed bool, err error) {
	n, err := c.readOnce(b, read)
	if n > 0 {
		c.bits.Or(inData)
		err := c.srv.Data(c, b[:n])
		c.bits.And(^uint32(inData))
		if err != nil {
			c.dataFailed(err)
			return false, nil
		}
	}
	return true, err
}

// dataFailed takes note of Data's error, unless it is one that came from here.
func (c *Conn) dataFailed(err error) {
	var known *Error
	if errors.As(err, &known) {
		return
	}
	c.state.fail(&Error{Reason: Internal, Err: err})
}

// dataBuffers are what Data is called with.
var dataBuffers = sync.Pool{New: func() any {
	b := make([]byte, chunk)
	return &b
}}
