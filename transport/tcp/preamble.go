package tcp

import (
	"net"
	"sync"
	"sync/atomic"
)

// A preambleListener accepts connections on which something comes before the peer's
// own bytes.
type preambleListener struct {
	net.Listener
	read func(net.Conn) (net.Addr, error)
}

func (l *preambleListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &preambled{TCPConn: conn.(*net.TCPConn), read: l.read}, nil
}

// A preambled connection has a preamble that the first Read takes off.
type preambled struct {
	*net.TCPConn
	read func(net.Conn) (net.Addr, error)

	once sync.Once
	err  error                    // of reading the preamble
	peer atomic.Pointer[net.Addr] // nil: the connection's own
}

func (c *preambled) Read(p []byte) (int, error) {
	if err := c.ReadPreamble(); err != nil {
		return 0, err
	}
	return c.TCPConn.Read(p)
}

// ReadPreamble reads it, unless that was done. Whoever needs the peer's address before
// its data calls this.
func (c *preambled) ReadPreamble() error {
	c.once.Do(func() {
		var peer net.Addr
		if peer, c.err = c.read(c.TCPConn); peer != nil {
			c.peer.Store(&peer)
		}
	})
	return c.err
}

// RemoteAddr is the peer's, as soon as the preamble was read.
func (c *preambled) RemoteAddr() net.Addr {
	if peer := c.peer.Load(); peer != nil {
		return *peer
	}
	return c.TCPConn.RemoteAddr()
}

func (c *preambled) NetConn() net.Conn { return c.TCPConn }
