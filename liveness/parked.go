package liveness

import (
	"errors"
	"sync"
	"time"

	"github.com/livenet/livenet/transport"
)

// A connection whose server has Data, not a Handler, is message-driven. If its stream is a
// [transport.Pollable], it is parked between messages: it has no goroutine and no buffer.

// canPark reports whether c needs no goroutine while it is idle.
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

// A container keeps a list of connections: a server, or a session of several streams.
type container interface {
	addConn(c *Conn)
	removeConn(c *Conn)
}

// container returns the session or server that lists c; nil: none.
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

// park ends the serving of a connection until it becomes readable.
func (c *Conn) park() {
	if c.deactivate() {
		p, _ := transport.As[transport.Pollable](c.stream)
		p.WakeOnRead((*parkedConn)(c))
	}
}

// deactivate marks that no goroutine serves c. It returns false if c has ended.
func (c *Conn) deactivate() bool {
	if c.bits.And(^uint32(active))&hasEnded != 0 {
		c.unregister()
		return false
	}
	return true
}

// released removes c from its container, unless a goroutine still serves it.
func (c *Conn) released() {
	if c.bits.Load()&noHandler != 0 {
		c.unregister()
	}
	if c.isParked() && c.bits.Or(hasEnded)&active == 0 {
		c.unregister()
	}
}

// A parkedConn is a Conn as a [transport.Waker].
type parkedConn Conn

func (p *parkedConn) Wake() {
	if p.bits.Or(active)&hasEnded == 0 {
		go (*Conn)(p).serveParked()
	}
}

// serveParked calls Data with the available input, and parks c again.
func (c *Conn) serveParked() {
	more := false
	defer func() { // also if Data calls runtime.Goexit
		if more {
			c.park()
		} else {
			c.Close()
			c.deactivate()
		}
	}()
	more = c.deliverAll()
}

// deliverAll calls Data until a read would block. It returns false if the connection is to be
// closed.
func (c *Conn) deliverAll() (more bool) {
	defer c.recoverPanic()
	p, _ := transport.As[transport.Pollable](c.stream)
	b := dataBuffers.Get().(*[]byte)
	defer dataBuffers.Put(b)
	for {
		if ok, err := c.deliver(*b, p.TryRead); !ok || err != nil {
			return ok && err == transport.ErrWouldBlock
		}
	}
}

// deliverBlocking calls Data from a goroutine that waits for input. It holds no buffer while
// it waits, if the stream is a [transport.Waiter]. It returns at the connection's end.
func (c *Conn) deliverBlocking() {
	w, waits := transport.As[transport.Waiter](c.stream)
	var b *[]byte
	for {
		if waits && !c.ready() {
			w.WaitRead() // Read returns its error, too
		}
		if b == nil {
			b = dataBuffers.Get().(*[]byte)
		}
		ok, err := c.deliver(*b, c.stream.Read)
		if waits || !ok || err != nil {
			dataBuffers.Put(b)
			b = nil
		}
		switch {
		case !ok:
			return
		case err == nil:
		case timedOut(err) && c.End() == nil: // closing sets a deadline, too
			c.SetReadDeadline(time.Time{}) // Data set it for its own reads
		default:
			return
		}
	}
}

// ready reports whether a read returns without reading from the stream.
func (c *Conn) ready() bool {
	if c.framed == nil {
		return false
	}
	c.readLock.Lock()
	defer c.readLock.Unlock()
	return c.framed.in.ready()
}

// deliver reads once and calls Data with what it read. It returns false if Data failed, and
// the error of the read.
func (c *Conn) deliver(b []byte, read func([]byte) (int, error)) (ok bool, err error) {
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

// dataFailed ends the connection for Data's error, unless Data returned the connection's own.
func (c *Conn) dataFailed(err error) {
	var known *Error
	if errors.As(err, &known) {
		return
	}
	c.state.fail(&Error{Reason: Internal, Err: err})
}

// dataBuffers holds the buffers that Data is called with.
var dataBuffers = sync.Pool{New: func() any {
	b := make([]byte, chunk)
	return &b
}}
