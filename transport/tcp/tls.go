package tcp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livenet/livenet/transport"
)

// tlsListener accepts connections whose handshake is still to be done.
type tlsListener struct {
	net.Listener
	config *tls.Config
}

func (l *tlsListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	w := newWire(conn)
	c := &tlsConn{Conn: tls.Server(w, l.config), wire: w}
	if w.poll != nil {
		return polledTLS{c}, nil
	}
	return c, nil
}

// tlsClient does the handshake within ctx.
func tlsClient(ctx context.Context, conn net.Conn, config *tls.Config, addr string) (*tlsConn, error) {
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		if host == "" { // ":port" means this machine
			host = "localhost"
		}
		config = config.Clone()
		config.ServerName, _, _ = strings.Cut(host, "%") // a zone is no part of a name
	}
	w := newWire(conn)
	c := &tlsConn{Conn: tls.Client(w, config), wire: w}
	if err := c.handshake(ctx); err != nil {
		w.Close()
		return nil, err
	}
	return c, nil
}

const (
	// farewell is how long Close waits at most, and CloseWrite at least, for
	// room to send what was left over and close_notify (RFC 8446, section 6.1).
	// The peer may not be reading.
	farewell = 100 * time.Millisecond

	// maxRecord is the longest plaintext of a record (RFC 8446, section 5.1).
	maxRecord = 16 << 10
)

// A tlsConn is a *tls.Conn that outlives its write deadlines.
//
// A record that was begun has to be finished: crypto/tls gives the connection
// up when a deadline cuts one off. So it is never told. The wire beneath it
// keeps the rest of the record, and the tlsConn above it says that the deadline
// has passed. The rest goes first with the next Write, CloseWrite or Close.
type tlsConn struct {
	*tls.Conn
	wire  *wire
	ready atomic.Bool // the handshake is done
	mu    sync.Mutex  // held by the one Write or CloseWrite that is on
	rmu   turn        // of a polledTLS
}

func (c *tlsConn) NetConn() net.Conn { return c.Conn }

// handshake does it, or waits for whoever is at it.
func (c *tlsConn) handshake(ctx context.Context) error {
	if c.ready.Load() {
		return nil
	}
	if err := c.HandshakeContext(ctx); err != nil {
		err = fmt.Errorf("TLS handshake: %w", err)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			// There is no second try, so this isn't a timeout as others are.
			err = &transport.CloseError{Origin: transport.Lost, Err: err}
		}
		return err
	}
	c.wire.keep.Store(true)
	c.ready.Store(true)
	if c.wire.parked != nil {
		c.wire.parked.lookAgain() // what came with the handshake has been read from it
	}
	return nil
}

// await is handshake for those who read and write. What its failure says of the peer
// is a fault.
func (c *tlsConn) await() error {
	err := c.handshake(context.Background())
	if violates(err) {
		err = &transport.CloseError{Origin: transport.Lost, Fault: transport.ProtocolError, Err: err}
	}
	return err
}

// violates reports whether crypto/tls failed because of what the peer sent, and not
// because of the connection. The peer's own alert is no fault of its.
func violates(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Op == "local error" // an alert of this end's
	}
	_, ended := errors.AsType[*transport.CloseError](err)
	return err != nil && !ended && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) &&
		!errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) && err != transport.ErrWouldBlock
}

// read is crypto/tls's Read.
func (c *tlsConn) read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if violates(err) {
		err = &transport.CloseError{Origin: transport.Lost, Fault: transport.ProtocolError, Err: err}
	}
	return n, err
}

func (c *tlsConn) Read(p []byte) (int, error) {
	if err := c.await(); err != nil {
		return 0, err
	}
	return c.read(p)
}

// polledTLS is a tlsConn on a connection that is Pollable.
type polledTLS struct{ *tlsConn }

// Read is the tlsConn's, one call of Read or TryRead at a time: the wire must
// know whose it is. What it leaves may be in the tlsConn, of which the
// connection beneath knows nothing.
func (c polledTLS) Read(p []byte) (int, error) {
	c.rmu.Lock()
	defer func() {
		if c.rmu.done() {
			c.wire.parked.lookAgain()
		}
	}()
	return c.tlsConn.Read(p)
}

// TryRead waits for the handshake, if that is still to be done. After that it
// returns what has been decrypted, or can be from what has arrived.
func (c polledTLS) TryRead(p []byte) (int, error) {
	if !c.rmu.try() {
		return 0, transport.ErrWouldBlock
	}
	defer c.rmu.Unlock()
	if err := c.await(); err != nil {
		return 0, err
	}
	c.wire.try = true
	defer func() { c.wire.try = false }()
	return c.read(p)
}

// WakeOnRead wakes w after the handshake, if that is still to be done: it may take
// its time, and whoever is woken may bring a buffer.
func (c polledTLS) WakeOnRead(w transport.Waker) {
	if !c.ready.Load() {
		w = greeter{c, w}
	}
	c.wire.poll.WakeOnRead(w)
}

// A greeter does the handshake before it wakes somebody.
type greeter struct {
	conn  polledTLS
	waker transport.Waker
}

func (g greeter) Wake() {
	go func() {
		g.conn.handshake(context.Background()) // an error is TryRead's to tell
		g.waker.Wake()
	}()
}

// Write counts as written what is in a record, though its last record may be
// held back when the deadline passes.
func (c *tlsConn) Write(p []byte) (n int, err error) {
	if err := c.await(); err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if err := c.wire.flush(); err != nil {
			return n, err
		}
		if len(p) == 0 {
			return n, nil
		}
		// While nothing is in a record yet, nothing has to be kept.
		if c.wire.expired() {
			return n, &net.OpError{Op: "write", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.ErrDeadlineExceeded}
		}
		m, err := c.Conn.Write(p[:min(len(p), maxRecord)])
		n, p = n+m, p[m:]
		if err != nil {
			return n, err
		}
	}
}

// CloseWrite waits for room to send close_notify until the deadline for
// writing. It takes a moment all the same if that has passed: on a plain
// connection CloseWrite has nothing to do with deadlines, and there may well be
// one left over from the last Write.
func (c *tlsConn) CloseWrite() error {
	if err := c.handshake(context.Background()); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wire.extend()
	defer c.wire.restore()
	if err := c.Conn.CloseWrite(); err != nil {
		return err
	}
	return c.wire.flush()
}

// Close says farewell, unless the handshake or a Write is going on: they would
// have to be waited for, and the caller wants to be rid of them.
func (c *tlsConn) Close() error {
	if c.ready.Load() && c.mu.TryLock() {
		// A peer that has taken nothing for as long is not waited for once more, but
		// for what this end may need to find out that there is room by now.
		const once = 10 * time.Millisecond
		patience := max(once, farewell-c.wire.stuck())
		c.SetWriteDeadline(time.Now().Add(patience))
		c.Conn.CloseWrite()
		c.wire.flush() // where there was a CloseWrite before, that one does nothing
		c.mu.Unlock()
	}
	return c.wire.Close()
}

func (c *tlsConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *tlsConn) SetWriteDeadline(t time.Time) error { return c.wire.setWriteDeadline(t) }
