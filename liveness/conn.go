package liveness

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/transport"
)

// Conn is a connection under a policy: an ordinary, blocking net.Conn that is
// closed when its deadline has passed. What the peer sends renews its lease as
// it is read. Its own deadlines are the application's, and mean what they mean
// everywhere. Once it has ended, Read and Write return the [*Error] that says
// why.
//
// On a stream with a codec, Read and Write carry the application's data;
// heartbeats, handshakes and the peer's farewell are dealt with underneath, by
// the calls of Read that the application makes anyway.
type Conn struct {
	life   life
	stream net.Conn
	*coded                   // nil: bytes as they are, and accepted here
	muxed  bool              // it is one of several streams of its session
	fed    atomic.Uint32     // see feed.go
	srv    *Server           // nil: no server's
	sess   transport.Session // ends with it; nil: that has a life of its own, or there is none
	ctx    *handlerContext   // nil: it has no handler
}

// NewConn puts conn under cfg's policy, from now. It panics if cfg has none.
// Closing the result closes conn.
func NewConn(conn net.Conn, cfg *Config) *Conn {
	if cfg == nil || cfg.Policy == nil {
		panic("liveness: NewConn without a policy")
	}
	return newConn(conn, cfg, cfg.policy(cfg.Policy))
}

// newConn puts conn under a policy that has an opening phase already.
func newConn(conn net.Conn, cfg *Config, policy Policy) *Conn {
	c := &Conn{stream: conn}
	c.life.cfg, c.life.policy, c.life.holder = cfg, policy, c
	c.life.begin()
	return c
}

// Read reads what the peer sent. It is io.EOF when the peer has ended its
// data, and an [*Error] when the connection has ended.
func (c *Conn) Read(p []byte) (int, error) {
	if c.hasCodec() {
		return c.readCoded(p)
	}
	n, err := c.stream.Read(p)
	return c.took(n, err)
}

// took takes note of what was read from a stream without a codec.
func (c *Conn) took(n int, err error) (int, error) {
	if n > 0 {
		c.life.read(n)
		if c.life.cfg.Evidence == codec.Bytes {
			c.life.renew()
		}
	}
	if err != nil {
		err = c.fault(err)
	}
	return n, err
}

// Write sends p to the peer. It never counts as a sign of the peer's life.
func (c *Conn) Write(p []byte) (int, error) {
	if c.hasCodec() {
		return c.writeCoded(p)
	}
	n, err := c.stream.Write(p)
	c.life.wrote(n)
	if err != nil {
		err = c.fault(err)
	}
	return n, err
}

// fault is what an error of the stream means to the application.
func (c *Conn) fault(err error) error {
	if e := c.life.ended.Load(); e != nil {
		return e
	}
	var closed *transport.CloseError
	switch {
	case err == io.EOF:
		c.life.note(&Error{Reason: PeerClosed, Initiator: Peer})
		return err
	case errors.As(err, &closed) && (closed.Origin != transport.Local || closed.Coded): // not just a half
		return c.life.note(explain(err))
	case timedOut(err):
		return err // the application's own deadline
	case errors.Is(err, net.ErrClosed):
		return err // a half that the application closed
	}
	return c.life.note(explain(err))
}

// Renew records a sign of the peer's life that the application has seen by
// itself. It reports whether the connection is live.
func (c *Conn) Renew() bool {
	c.life.vouch()
	return c.life.ended.Load() == nil
}

// ID is the number by which events know the connection.
func (c *Conn) ID() uint64 { return c.life.id }

// End is why the connection ended, or nil while it lives.
func (c *Conn) End() *Error { return c.life.ended.Load() }

// Deadline is when the connection is closed if the peer is not heard again;
// the zero time if nothing ever closes it.
func (c *Conn) Deadline() time.Time {
	var first time.Time
	for l := &c.life; l != nil; l = l.parent {
		if l.policy == nil {
			continue
		}
		if d := l.lease.Deadline(); first.IsZero() || !d.IsZero() && d.Before(first) {
			first = d
		}
	}
	return first
}

// RTT is the latest round-trip time measured by heartbeats; 0: none yet.
func (c *Conn) RTT() time.Duration { return time.Duration(c.life.rtt.Load()) }

// PeerHello is what the peer stated of itself, or nil.
func (c *Conn) PeerHello() *codec.Hello {
	if c.coded == nil {
		return nil
	}
	return c.hello.Load()
}

// NetConn is the connection beneath. What is read from it directly is not
// evidence, except to the kernel, which is asked before a TCP connection is
// judged dead.
func (c *Conn) NetConn() net.Conn { return c.stream }

func (c *Conn) LocalAddr() net.Addr  { return c.stream.LocalAddr() }
func (c *Conn) RemoteAddr() net.Addr { return c.stream.RemoteAddr() }

// CloseWrite ends this direction: the peer reads EOF. Where the codec can say
// so, heartbeats go on.
func (c *Conn) CloseWrite() error {
	if c.hasCodec() {
		return c.closeWriteCoded()
	}
	return closeWrite(c.stream)
}

func closeWrite(conn net.Conn) error {
	if h, ok := conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return &net.OpError{Op: "close", Net: conn.RemoteAddr().Network(), Addr: conn.RemoteAddr(), Err: errors.ErrUnsupported}
}

// Close ends the connection, and returns when it is closed, whoever began to
// close it. The reason is done, unless the peer had ended it before.
func (c *Conn) Close() error {
	c.life.close()
	c.awaitEnd()
	return nil
}

// CloseWith ends the connection for a reason of the application's, and tells
// the peer, with a few words if text isn't empty, where that is possible.
func (c *Conn) CloseWith(r Reason, text string) error {
	c.life.end(Error{Reason: r, Text: text})
	c.awaitEnd()
	return nil
}

func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *Conn) SetReadDeadline(t time.Time) error {
	if c.coded == nil || c.dialler == nil {
		return c.stream.SetReadDeadline(t)
	}
	c.dmu.Lock()
	defer c.dmu.Unlock()
	if c.dialler.lingering {
		return net.ErrClosed // the deadline is the ending's own
	}
	return c.stream.SetReadDeadline(t)
}

func (c *Conn) SetWriteDeadline(t time.Time) error {
	if c.coded == nil {
		return c.stream.SetWriteDeadline(t)
	}
	c.dmu.Lock()
	defer c.dmu.Unlock()
	c.deadline = nil
	if !t.IsZero() {
		c.deadline = &t
	}
	if c.bounded {
		return nil // takes effect when the control message is out
	}
	return c.stream.SetWriteDeadline(t)
}

// addrs is the session's where the connection is one.
func (c *Conn) addrs() (local, remote net.Addr) { return c.stream.LocalAddr(), c.stream.RemoteAddr() }

// witness is made when it is asked, which is seldom.
func (c *Conn) witness() *witness {
	if c.muxed {
		return nil
	}
	w := witnessOf(c.stream)
	if w != nil {
		w.asked = c.dialled()
	}
	return w
}

// dialled says that this end opened the session.
func (c *Conn) dialled() bool { return c.sess != nil && c.srv == nil }

// shut ends the stream, in the order that lets the peer know: the farewell
// first, then what is still under way, then the end.
func (c *Conn) shut(e *Error) {
	if c.dialled() {
		c.dialler.beat.stop()
	}
	if c.ctx != nil {
		c.ctx.end(e) // before anyone is woken
	}
	said := c.farewell(e)
	if c.dialled() && c.muxed && e.Reason == Done && !e.vanished {
		c.linger()
	}
	c.cut(e, said)
	switch {
	case c.sess == nil:
	case c.muxed && e.Initiator == Peer: // it has ended the stream; the session ends because it is not needed any more
		c.sess.Close(Done.Code(), "")
	default:
		c.sess.Close(e.Reason.Code(), e.Text)
	}
}

// cut ends the stream. One of several in a session is ended politely if the
// peer knows the reason, so that it gets to read it, and reset with the
// reason's code if not; but what its handler has finished while this end drained is
// whole. A connection of its own is reset if nobody is there to
// take what is queued: the kernel would retry for minutes.
func (c *Conn) cut(e *Error, said bool) {
	s, ok := c.stream.(transport.Stream)
	whole := e.Reason == Done || e.Reason == Draining && e.orderly && !c.wasTorn()
	abrupt := e.Reason.abrupt() || e.vanished
	switch {
	case ok && c.muxed && !said && e.Initiator == Local && !whole:
		s.Reset(e.Reason.Code())
	case ok && !c.muxed && abrupt:
		s.Reset(e.Reason.Code())
	case !ok && abrupt:
		reset(c.stream)
	default:
		c.stream.Close()
	}
}

// wasTorn reports whether the application was kept from writing all that it wanted.
func (c *Conn) wasTorn() bool {
	if !c.hasCodec() {
		return false
	}
	c.dmu.Lock()
	defer c.dmu.Unlock()
	return c.torn
}

// reset closes conn such that its send queue is dropped, if it is TCP.
func reset(conn net.Conn) {
	if tcp, _ := beneath(conn); tcp != nil {
		tcp.SetLinger(0)
		tcp.Close() // first: closing TLS above it would want to send
	}
	conn.Close()
}

// lingerTime is how long a dialled connection, or a session that has been drained,
// waits at its end for the peer to have taken what was sent.
const (
	lingerTime = time.Second
	lingerMost = 256 << 10 // bytes from a peer that does not end
)

// linger waits until the peer has ended its side, since a transport may drop
// what is still under way when its session is closed. The application's reads
// return at once.
func (c *Conn) linger() {
	if closeWrite(c.stream) != nil {
		return
	}
	c.dmu.Lock()
	c.dialler.lingering = true
	c.stream.SetReadDeadline(past)
	c.dmu.Unlock()
	c.rmu.Lock()
	defer c.rmu.Unlock()
	c.stream.SetReadDeadline(time.Now().Add(lingerTime))
	io.Copy(io.Discard, io.LimitReader(c.stream, lingerMost))
}

// past is a deadline that has passed under any clock.
var past = time.Unix(1, 0)

var (
	_ net.Conn = (*Conn)(nil)
	_ holder   = (*Conn)(nil)
)

// drain tells the peer that this end is going away and sends no more. The
// peer has time to close; what it still sends is read by the handler. A peer
// that can't be told is left alone until its time is up: an EOF in the middle
// of an answer would make it look whole. One that has not been heard at all is
// not waited for.
func (c *Conn) drain() {
	if !c.drainNow() {
		c.life.close()
	}
}

func (c *Conn) hasSaid() bool { return c.hasCodec() && c.said.Load() }

// drainNow reports false if there is nothing to wait for.
func (c *Conn) drainNow() bool {
	e := &Error{Reason: Draining}
	c.life.note(e)
	if c.hasCodec() && c.coder.CanClose() && c.farewell(e) {
		number := c.bound(time.Now().Add(farewellTime))
		closeWrite(c.stream)
		c.unbound(number)
	}
	return c.life.in.Load() > 0
}
