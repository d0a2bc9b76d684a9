package liveness

import (
	"cmp"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/transport"
)

// Conn is a connection under a policy: a blocking net.Conn that this package closes when
// the policy's deadline has passed. What is read from the peer renews the
// lease. SetDeadline and its like belong to the application, and don't affect the policy.
// Once the connection has ended, Read and Write return the [*Error] that says why.
//
// With a codec, Read and Write carry the application's data. The application's calls of
// Read also process heartbeats, Hellos and the peer's Close.
type Conn struct {
	state       state
	stream      net.Conn
	framed      *framed               // nil: bytes as they are
	dialed      *dialed               // nil: accepted here
	readLock    sync.Mutex            // held while reading from the stream
	multiplexed bool                  // one of several streams of its session
	bits        atomic.Uint32         // see parked.go
	srv         *Server               // nil: no server accepted it
	ctx         *handlerContext       // nil: no Handler
	extra       atomic.Pointer[extra] // made on first use

	// deadlines guards the stream's deadlines. Once the connection has ended, only the
	// closing sets them, not the application. It is also held to change the policy.
	deadlines sync.Mutex
}

// extra holds what few connections need.
type extra struct {
	pacer       *pacer                       // nil: no MinPace
	addrs       atomic.Pointer[[2]net.Addr]  // cached addresses of a wrapped connection
	beforeClose atomic.Pointer[func(*Error)] // nil: none
	value       atomic.Pointer[any]          // SetValue's
}

// ensureExtra returns c's extra, and makes it on first use.
func (c *Conn) ensureExtra() *extra {
	r := c.extra.Load()
	if r == nil {
		c.extra.CompareAndSwap(nil, new(extra))
		r = c.extra.Load()
	}
	return r
}

func (c *Conn) pacer() *pacer {
	if r := c.extra.Load(); r != nil {
		return r.pacer
	}
	return nil
}

// NewConn puts conn under cfg's policy, from now on. It panics if cfg has no policy, or one
// that doesn't fit cfg's Evidence or MinPace. Closing the result closes conn.
func NewConn(conn net.Conn, cfg *Config) *Conn {
	if cfg == nil || cfg.Policy == nil {
		panic("liveness: NewConn without a policy")
	}
	if err := cmp.Or(cfg.checkAcks(cfg.Policy), cfg.checkPace(cfg.Policy)); err != nil {
		panic(err)
	}
	return newConn(conn, cfg, cfg.policy(cfg.Policy), nil)
}

// newConn puts conn under policy, which includes the opening phase.
func newConn(conn net.Conn, cfg *Config, policy *connPolicy, srv *Server) *Conn {
	c := &Conn{stream: conn, srv: srv}
	c.bits.Store(wrapped | noHandler)
	c.state.cfg, c.state.owner = cfg, c
	c.state.usePolicy(policy)
	c.begin()
	c.register()
	c.state.announceThen(func() {})
	return c
}

// begin grants the lease. It returns false if the connection's session has ended.
func (c *Conn) begin() bool {
	if p := newPacer(c); p != nil {
		c.ensureExtra().pacer = p
	}
	if !c.state.begin() {
		return false
	}
	c.pacer().start()
	return true
}

// Read reads what the peer sent. It returns io.EOF when the peer has ended its data, and an
// [*Error] when the connection has ended.
func (c *Conn) Read(p []byte) (int, error) {
	c.readLock.Lock()
	defer c.readLock.Unlock()
	if c.framed != nil {
		return c.framed.in.read(p)
	}
	if e := c.End(); e != nil {
		return 0, e
	}
	n, err := c.stream.Read(p)
	return c.afterRead(n, len(p), err)
}

// readOnce is Read with a single call of read, which may be TryRead of a
// [transport.Pollable]. It returns 0 if that brought no data for the application.
func (c *Conn) readOnce(p []byte, read func([]byte) (int, error)) (int, error) {
	c.readLock.Lock()
	defer c.readLock.Unlock()
	if c.framed != nil {
		return c.framed.in.readOnce(p, read)
	}
	if e := c.End(); e != nil {
		return 0, e
	}
	n, err := read(p)
	if err == transport.ErrWouldBlock {
		c.afterRead(n, len(p), nil) // TLS may return data with it
		return n, err
	}
	return c.afterRead(n, len(p), err)
}

// afterRead counts n bytes that were read without a codec into a buffer of size, renews the
// lease, and converts err.
func (c *Conn) afterRead(n, size int, err error) (int, error) {
	if n > 0 {
		c.state.addIn(n)
		if c.state.cfg.Evidence <= codec.Bytes {
			c.state.renew()
		}
		c.yield(n, size)
	}
	if err != nil {
		err = c.readError(err)
	}
	return n, err
}

// fairShare is how many bytes of a backlog a connection reads before it yields the processor.
// Many floods of tiny frames would otherwise each use up a whole time slice.
const fairShare = 4 << 10

// yield yields the processor if the latest n bytes of input, read into a buffer of size, have
// crossed a multiple of fairShare and look like a backlog. A single message of a
// conversation isn't worth that: the next Read will block.
func (c *Conn) yield(n, size int) {
	backlog := n >= min(size, fairShare/2)
	if total := c.state.in.Load(); backlog && total/fairShare != (total-int64(n))/fairShare {
		runtime.Gosched()
	}
}

// Write sends p to the peer. It returns an [*Error] when the connection has ended. It
// doesn't renew the lease.
func (c *Conn) Write(p []byte) (int, error) {
	if c.framed != nil {
		n, err := c.framed.out.write(p)
		return n, c.awaitReason(err)
	}
	n, err := c.send(p)
	if err != nil {
		err = c.writeError(err)
	}
	return n, err
}

// awaitReason returns a Write's error, or instead the reason that a pending Read finds within
// 0.1 s: over QUIC, STOP_SENDING may overtake the Close frame that carries the reason.
func (c *Conn) awaitReason(err error) error {
	const moment = 100 * time.Millisecond
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Initiator != Peer || !e.Reason.observed() || c.End() == nil && !c.isReading() {
		return err
	}
	timer := time.NewTimer(moment)
	defer timer.Stop()
	select {
	case <-c.Done():
		return c.End()
	case <-timer.C:
		return err
	}
}

// send writes b to the stream.
func (c *Conn) send(b []byte) (int, error) {
	if p := c.pacer(); p != nil && p.socket == nil {
		return p.write(b)
	}
	n, err := c.stream.Write(b)
	c.state.addOut(n)
	return n, err
}

// readError converts an error of reading from the stream to the one that the application
// gets. It ends the connection if nothing more can be read.
func (c *Conn) readError(err error) error {
	if err == io.EOF {
		c.bits.Or(peerEnded)
	}
	e := c.classify(err)
	switch {
	case c.End() != nil:
		return c.End()
	case e == nil:
		return err
	case c.exchangingHellos():
		return &c.state.setPending(endingFrom(e)).Error
	}
	return c.state.fail(e)
}

// writeError does the same for writing. It does not end the connection, since what has
// arrived can still be read.
func (c *Conn) writeError(err error) error {
	e := c.classify(err)
	switch {
	case c.End() != nil:
		return c.End()
	case e == nil:
		return err
	}
	return &c.state.setPending(endingFrom(e)).Error
}

// classify returns how an error of the stream ends the connection; nil: it does not.
func (c *Conn) classify(err error) *Error {
	var closed *transport.CloseError
	switch {
	case err == io.EOF:
		e := Error{Reason: PeerClosed, Initiator: Peer}
		switch {
		case c.framed == nil || !c.framed.coder.CanClose(): // EOF is the normal end of data
			e.Initiator = c.state.dataEnded(Peer)
		case c.framed.in.whole.Load():
			e.Reason = Done
		}
		c.state.setPending(ending{Error: e})
		return nil
	case errors.As(err, &closed) && (closed.Origin != transport.Local || closed.HasCode): // not our half-close
		return explain(err)
	case c.kernelGaveUp(err):
		return &Error{Reason: Silent, Err: err}
	case timedOut(err): // the application's deadline
		return nil
	case errors.Is(err, net.ErrClosed): // the application's half-close
		return nil
	}
	return explain(err)
}

// Renew renews the lease: the application calls it when it has seen a sign of the peer's
// life that this package doesn't recognize. It returns false if the connection has ended.
func (c *Conn) Renew() bool {
	c.bits.Or(renewedByApp)
	c.state.renew()
	return c.End() == nil
}

// SetValue stores a value of the application's with the connection, for the calls of
// [Server].Data. Value returns it.
func (c *Conn) SetValue(v any) { c.ensureExtra().value.Store(&v) }

// Value returns what SetValue has stored, or nil.
func (c *Conn) Value() any {
	if r := c.extra.Load(); r != nil {
		if v := r.value.Load(); v != nil {
			return *v
		}
	}
	return nil
}

// ID returns the ID that events give the session, or the stream if it is one of several.
func (c *Conn) ID() uint64 { return c.state.id }

// Multiplexed reports whether the connection is one of several streams of its session.
func (c *Conn) Multiplexed() bool { return c.multiplexed }

// End returns why the connection ended; nil while it is open.
func (c *Conn) End() *Error { return c.state.endError() }

// Draining returns a channel that is closed when this server is shutting down, or the peer
// has said that it is: finish what is under way, and begin nothing new. Read and Write
// still work. The channel is also closed once the connection has ended.
func (c *Conn) Draining() <-chan struct{} { return c.state.signal().draining.c }

// Done returns a channel that is closed when the connection has ended; End says why.
func (c *Conn) Done() <-chan struct{} { return c.state.signal().closed.c }

// Deadline returns when the policy closes the connection if the peer is not heard again;
// zero: never.
func (c *Conn) Deadline() time.Time { return c.state.deadline() }

// PeerHello returns the peer's Hello; nil if none has come.
func (c *Conn) PeerHello() *codec.Hello {
	if c.framed == nil {
		return nil
	}
	return c.framed.hello.Load()
}

// NetConn returns the underlying connection. Reading from it directly doesn't renew the
// lease. But on Linux, TCP_INFO is read before a TCP connection expires, and shows such
// input as well.
func (c *Conn) NetConn() net.Conn { return c.stream }

// LocalAddr returns the local address.
func (c *Conn) LocalAddr() net.Addr { return c.stream.LocalAddr() }

// RemoteAddr returns the peer's address.
func (c *Conn) RemoteAddr() net.Addr { return c.stream.RemoteAddr() }

// CloseWrite ends this direction: the peer reads EOF. If the codec has a frame for that,
// heartbeats go on. It fails if the underlying connection has no CloseWrite.
func (c *Conn) CloseWrite() error {
	if c.framed != nil {
		return c.framed.out.closeWrite()
	}
	c.state.dataEnded(Local)
	return closeWrite(c.stream)
}

func closeWrite(conn net.Conn) error {
	if h, ok := conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return &net.OpError{Op: "close", Net: conn.RemoteAddr().Network(), Addr: conn.RemoteAddr(), Err: errors.ErrUnsupported}
}

// Close ends the connection with [Done], unless the peer ended it before. It returns nil.
// What was written is still delivered: Close waits for that, at most 5 s, if the connection
// was dialled, and else leaves it to the background.
func (c *Conn) Close() error {
	c.state.finish()
	c.awaitClosed()
	return nil
}

// CloseWith is Close with another reason. It sends r and text to the peer if the codec or
// the transport can.
func (c *Conn) CloseWith(r Reason, text string) error {
	if !c.state.endAfterHook(ending{Error: Error{Reason: r, Text: text}, abrupt: r.abrupt()}) {
		c.state.finish() // the caller may be who is waited for
	}
	c.awaitClosed()
	return nil
}

func (c *Conn) awaitClosed() {
	c.state.awaitClosed()
	if c.dialed != nil {
		<-c.dialed.sessionClosed.c
	}
}

// SetDeadline sets the deadline of Read and Write. Like SetReadDeadline and
// SetWriteDeadline, it returns net.ErrClosed once the connection has ended.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline sets the deadline of Read.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.deadlines.Lock()
	defer c.deadlines.Unlock()
	if c.End() != nil {
		return net.ErrClosed
	}
	return c.stream.SetReadDeadline(t)
}

// SetWriteDeadline sets the deadline of Write.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if c.framed != nil {
		return c.framed.out.setDeadline(t)
	}
	c.deadlines.Lock()
	defer c.deadlines.Unlock()
	if c.End() != nil {
		return net.ErrClosed
	}
	return c.stream.SetWriteDeadline(t)
}

var _ net.Conn = (*Conn)(nil)
