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

// A tlsListener accepts connections before their handshake.
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
	// closeNotifyTimeout is how long Close, at most, and CloseWrite, at least, try to
	// send unsent records and close_notify (RFC 8446, section 6.1). The peer may not be
	// reading.
	closeNotifyTimeout = 100 * time.Millisecond

	// After a failed handshake the peer's input is dropped for a while, of so many
	// connections at a time: if the socket were closed before the peer has stopped
	// sending, its kernel might drop our alert for the reset that answers it.
	lingerTime  = time.Second
	lingerBytes = 64 << 10
	maxLingers  = 256

	// maxRecord is the longest plaintext of a record (RFC 8446, section 5.1).
	maxRecord = 16 << 10
)

// A tlsConn is a *tls.Conn that stays usable after a write deadline has passed.
//
// crypto/tls breaks a connection when a deadline truncates a record. So the wire below it
// hides the timeout from it and keeps the rest of the record, and the tlsConn returns the
// timeout to its caller. The next Write, CloseWrite or Close sends the rest first.
type tlsConn struct {
	*tls.Conn
	wire  *wire
	ready atomic.Bool // the handshake is done
	mu    sync.Mutex  // held during Write and CloseWrite
	rmu   readLock    // of a polledTLS
	once  sync.Once   // lingers
}

func (c *tlsConn) NetConn() net.Conn { return c.Conn }

// handshake does the handshake, or waits for a call that is doing it.
func (c *tlsConn) handshake(ctx context.Context) error {
	if c.ready.Load() {
		return nil
	}
	if err := c.HandshakeContext(ctx); err != nil {
		err = fmt.Errorf("TLS handshake: %w", err)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			// A handshake can't be resumed, so this is not a timeout but the end.
			err = &transport.CloseError{Origin: transport.Lost, Err: err}
		}
		return err
	}
	c.wire.buffering.Store(true)
	c.ready.Store(true)
	if c.wire.parked != nil {
		c.wire.parked.recheck() // the handshake may have read application data from the socket
	}
	return nil
}

// lingers holds a token for each linger.
var lingers = make(chan struct{}, maxLingers)

// linger ends this direction, behind the alert that says why the handshake failed, and
// drops what comes until the peer has ended its own, or Close is called.
func (c *tlsConn) linger() {
	select {
	case lingers <- struct{}{}:
		defer func() { <-lingers }()
	default:
		return
	}
	w := c.wire.Conn.(transport.Stream)
	if w.CloseWrite() == nil {
		w.SetReadDeadline(time.Now().Add(lingerTime))
		io.CopyN(io.Discard, w, lingerBytes)
	}
}

// await is handshake for Read and Write. If the peer broke the protocol, it returns a
// CloseError that says so.
func (c *tlsConn) await() error {
	err := c.handshake(context.Background())
	if !isViolation(err) {
		return err
	}
	c.once.Do(c.linger)
	if !c.wire.failed {
		err = &transport.CloseError{Origin: transport.Lost, Fault: transport.ProtocolError, Err: err}
	}
	return err
}

// isViolation reports whether crypto/tls returned err because the peer sent something
// invalid. An error of the connection, or an alert from the peer, is not a violation.
func isViolation(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Op == "local error" // crypto/tls sent an alert
	}
	_, ended := errors.AsType[*transport.CloseError](err)
	return err != nil && !ended && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) &&
		!errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) && err != transport.ErrWouldBlock
}

// read is Read after the handshake.
func (c *tlsConn) read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if isViolation(err) {
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

// Read excludes TryRead, since wire.nonblocking is set for one of them only. Afterwards
// there may be decrypted data in the *tls.Conn, of which epoll does not notify.
func (c polledTLS) Read(p []byte) (int, error) {
	c.rmu.Lock()
	defer func() {
		if c.rmu.unlock() {
			c.wire.parked.recheck()
		}
	}()
	return c.tlsConn.Read(p)
}

// TryRead does the handshake first, if needed, which may block. Then it returns data that
// has been decrypted already, or can be decrypted from what has arrived.
func (c polledTLS) TryRead(p []byte) (int, error) {
	if !c.rmu.tryLock() {
		return 0, transport.ErrWouldBlock
	}
	defer c.rmu.Unlock()
	if err := c.await(); err != nil {
		return 0, err
	}
	c.wire.nonblocking = true
	defer func() { c.wire.nonblocking = false }()
	return c.read(p)
}

// WakeOnRead wakes w only after the handshake. That may take long, and a caller that is
// woken may hold a buffer meanwhile.
func (c polledTLS) WakeOnRead(w transport.Waker) {
	if !c.ready.Load() {
		w = handshakeWaker{c, w}
	}
	c.wire.poll.WakeOnRead(w)
}

// A handshakeWaker does the handshake before it wakes waker.
type handshakeWaker struct {
	conn  polledTLS
	waker transport.Waker
}

func (h handshakeWaker) Wake() {
	go func() {
		h.conn.handshake(context.Background()) // TryRead returns its error
		h.waker.Wake()
	}()
}

// Write returns how many bytes are in records that were sent or, when the deadline
// passes, that the wire keeps to be sent next.
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
		// Before a record is begun, a timeout needs no buffering.
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

// CloseWrite tries to send close_notify until the write deadline, but for at least
// closeNotifyTimeout: on a plain connection CloseWrite ignores deadlines, and an old one
// may be left from an earlier Write.
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

// Close sends close_notify, unless a handshake or a Write is under way: it would have to
// wait for them, and Close has to interrupt them.
func (c *tlsConn) Close() error {
	if c.ready.Load() && c.mu.TryLock() {
		// The time for which writing has been blocked already counts. What remains is
		// enough to find out whether there is room now.
		const least = 10 * time.Millisecond
		timeout := max(least, closeNotifyTimeout-c.wire.blockedFor())
		c.SetWriteDeadline(time.Now().Add(timeout))
		c.Conn.CloseWrite()
		c.wire.flush() // crypto/tls's CloseWrite sends nothing the second time
		c.mu.Unlock()
	}
	return c.wire.Close()
}

func (c *tlsConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *tlsConn) SetWriteDeadline(t time.Time) error { return c.wire.setWriteDeadline(t) }
