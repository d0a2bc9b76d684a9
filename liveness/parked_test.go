package liveness_test

import (
	"bytes"
	"io"
	"net"
	"sync"
	"time"

	"github.com/livenet/livenet/transport"
)

// A parkedPipe is one end of an in-process connection that parks and works in a bubble.
// It has no deadlines.
type parkedPipe struct {
	mu     *sync.Mutex // of both ends
	more   *sync.Cond
	peer   *parkedPipe
	in     bytes.Buffer
	closed bool
	waker  transport.Waker
}

func parkedPair() (a, b net.Conn) {
	mu := new(sync.Mutex)
	here, there := &parkedPipe{mu: mu, more: sync.NewCond(mu)}, &parkedPipe{mu: mu, more: sync.NewCond(mu)}
	here.peer, there.peer = there, here
	return here, there
}

func (p *parkedPipe) Read(b []byte) (int, error) {
	for {
		n, err := p.TryRead(b)
		if err != transport.ErrWouldBlock {
			return n, err
		}
		p.mu.Lock()
		for !p.ready() {
			p.more.Wait()
		}
		p.mu.Unlock()
	}
}

func (p *parkedPipe) TryRead(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return 0, net.ErrClosed
	case p.in.Len() > 0:
		return p.in.Read(b)
	case p.peer.closed:
		return 0, io.EOF
	}
	return 0, transport.ErrWouldBlock
}

// ready reports whether TryRead has something to say. The lock is held.
func (p *parkedPipe) ready() bool { return p.closed || p.peer.closed || p.in.Len() > 0 }

func (p *parkedPipe) WakeOnRead(w transport.Waker) {
	p.mu.Lock()
	p.waker = w
	p.mu.Unlock()
	p.changed()
}

// changed wakes the waiters.
func (p *parkedPipe) changed() {
	p.mu.Lock()
	var w transport.Waker
	if p.ready() {
		p.more.Broadcast()
		w, p.waker = p.waker, nil
	}
	p.mu.Unlock()
	if w != nil {
		w.Wake()
	}
}

func (p *parkedPipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	if p.closed || p.peer.closed {
		p.mu.Unlock()
		return 0, net.ErrClosed
	}
	p.peer.in.Write(b)
	p.mu.Unlock()
	p.peer.changed()
	return len(b), nil
}

func (p *parkedPipe) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.changed()
	p.peer.changed()
	return nil
}

func (p *parkedPipe) LocalAddr() net.Addr              { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }
func (p *parkedPipe) RemoteAddr() net.Addr             { return p.LocalAddr() }
func (p *parkedPipe) SetDeadline(time.Time) error      { return nil }
func (p *parkedPipe) SetReadDeadline(time.Time) error  { return nil }
func (p *parkedPipe) SetWriteDeadline(time.Time) error { return nil }
