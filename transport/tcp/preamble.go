package tcp

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"github.com/livenet/livenet/transport"
)

// A preambleListener accepts connections that begin with a proxy's header.
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

// A preambled connection begins with a header, which the first Read removes.
type preambled struct {
	*net.TCPConn
	read func(net.Conn) (net.Addr, error)

	once sync.Once
	err  error                    // of reading the header
	peer atomic.Pointer[net.Addr] // the address in the header; nil before it is read, or if there is none
}

func (c *preambled) Read(p []byte) (int, error) {
	if err := c.ReadPreamble(); err != nil {
		return 0, err
	}
	return c.TCPConn.Read(p)
}

// ReadPreamble reads the header, unless it was read before. It is for callers that need the
// peer's address before its data.
func (c *preambled) ReadPreamble() error {
	c.once.Do(func() {
		var peer net.Addr
		if peer, c.err = c.read(c.TCPConn); peer != nil {
			c.peer.Store(&peer)
		}
		if errors.Is(c.err, os.ErrDeadlineExceeded) {
			// The rest can't be read later, so this is not a timeout but the end.
			c.err = &transport.CloseError{Origin: transport.Lost, Err: c.err}
		}
	})
	return c.err
}

// RemoteAddr is the address in the header, once that has been read.
func (c *preambled) RemoteAddr() net.Addr {
	if peer := c.peer.Load(); peer != nil {
		return *peer
	}
	return c.TCPConn.RemoteAddr()
}

func (c *preambled) NetConn() net.Conn { return c.TCPConn }
