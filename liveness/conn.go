package liveness

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
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
	cfg    *Config
	stream net.Conn
	life   *life                   // the session's, where the session is one stream
	coder  codec.Coder             // nil: bytes as they are
	kernel *witness                // nil: none
	muxed  bool                    // it is one of several streams of its session
	ctx    context.Context         // the handler's
	cancel context.CancelCauseFunc // of that; nil: it is the session's
	owned  transport.Session       // of a dialled connection: ends with it
	beat   *beater                 // of a dialled connection that beats; nil: none

	rmu     sync.Mutex    // held while reading through the coder
	small   []byte        // for reads too small for the coder, and
	pending []byte        // what they left over
	allowed allowance     // the heartbeats that the peer may send
	drained chan struct{} // closed when drain has ended; nil: it never began

	greeting bool // a dialled connection whose life has not begun; set by Dial only

	over atomic.Pointer[readEnd]

	wmu     sync.Mutex  // held while writing through the coder
	backlog []byte      // the rest of a frame that a deadline cut short
	ended   bool        // this direction's data
	said    bool        // the farewell
	leaving atomic.Bool // the farewell is to come
	asked   atomic.Pointer[question]
	clogged atomic.Bool // the peer took nothing when last tried
	due     atomic.Bool // a Ping: the lock was taken when it was to be sent

	dmu       sync.Mutex // guards the next two
	deadline  time.Time  // for writing, as the application set it
	lingering bool       // the end is reading: deadlines for that are its own
	bounded   bool       // a control message has set another one for now

	hello atomic.Pointer[codec.Hello] // the peer's
}

// readEnd is the error that ends all further reading.
type readEnd struct{ err error }

// question is the latest Ping that was sent.
type question struct {
	seq uint32
	at  time.Time
}

// NewConn puts conn under cfg's policy, from now. It panics if cfg has none.
// Closing the result closes conn.
func NewConn(conn net.Conn, cfg *Config) *Conn {
	if cfg == nil || cfg.Policy == nil {
		panic("liveness: NewConn without a policy")
	}
	c := &Conn{cfg: cfg, stream: conn, kernel: witnessOf(conn)}
	c.life = &life{
		cfg: cfg, policy: cfg.policy(cfg.Policy), kind: KindSession, holder: c,
		local: conn.LocalAddr(), remote: conn.RemoteAddr(),
	}
	c.life.begin()
	return c
}

// Read reads what the peer sent. It is io.EOF when the peer has ended its
// data, and an [*Error] when the connection has ended.
func (c *Conn) Read(p []byte) (int, error) {
	if c.coder != nil {
		return c.readCoded(p)
	}
	n, err := c.stream.Read(p)
	if n > 0 {
		c.life.read(n)
		if c.cfg.Evidence == codec.Bytes {
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
	if c.coder != nil {
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
	case errors.As(err, &closed):
		e := explain(err)
		c.life.note(e)
		return e
	case timedOut(err):
		return err // the application's own deadline
	case errors.Is(err, net.ErrClosed):
		return err // a half that the application closed
	}
	e := explain(err)
	c.life.note(e)
	return e
}

// Renew records a sign of the peer's life that the application has seen by
// itself. It reports whether the connection is live.
func (c *Conn) Renew() bool {
	c.life.renew()
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
	for l := c.life; l != nil; l = l.parent {
		if l.lease == nil {
			continue
		}
		if d := l.lease.Deadline(); first.IsZero() || d.Before(first) {
			first = d
		}
	}
	return first
}

// RTT is the latest round-trip time measured by heartbeats; 0: none yet.
func (c *Conn) RTT() time.Duration { return time.Duration(c.life.rtt.Load()) }

// PeerHello is what the peer stated of itself, or nil.
func (c *Conn) PeerHello() *codec.Hello { return c.hello.Load() }

// NetConn is the connection beneath. What is read from it directly is not
// evidence, except to the kernel, which is asked before a TCP connection is
// judged dead.
func (c *Conn) NetConn() net.Conn { return c.stream }

func (c *Conn) LocalAddr() net.Addr  { return c.stream.LocalAddr() }
func (c *Conn) RemoteAddr() net.Addr { return c.stream.RemoteAddr() }

// CloseWrite ends this direction: the peer reads EOF. Where the codec can say
// so, heartbeats go on.
func (c *Conn) CloseWrite() error {
	if c.coder != nil {
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
	c.dmu.Lock()
	defer c.dmu.Unlock()
	if c.lingering {
		return net.ErrClosed // the deadline is the ending's own
	}
	return c.stream.SetReadDeadline(t)
}

func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.dmu.Lock()
	defer c.dmu.Unlock()
	c.deadline = t
	if c.bounded {
		return nil // takes effect when the control message is out
	}
	return c.stream.SetWriteDeadline(t)
}

func (c *Conn) witness() *witness { return c.kernel }

// shut ends the stream, in the order that lets the peer know: the farewell
// first, then what is still under way, then the end.
func (c *Conn) shut(e *Error) {
	c.beat.stop()
	if c.cancel != nil {
		c.cancel(e)
	}
	said := c.farewell(e)
	if c.owned != nil && c.muxed && e.Reason == Done {
		c.linger()
	}
	c.cut(e, said)
	if c.owned != nil {
		c.owned.Close(e.Reason.Code(), e.Text)
	}
}

// cut ends the stream. One of several in a session is ended politely if the
// peer knows the reason, so that it gets to read it, and reset with the
// reason's code if not. A connection of its own is reset if nobody is there to
// take what is queued: the kernel would retry for minutes.
func (c *Conn) cut(e *Error, said bool) {
	s, ok := c.stream.(transport.Stream)
	switch {
	case ok && c.muxed && !said && e.Initiator == Local && e.Reason != Done:
		s.Reset(e.Reason.Code())
	case ok && !c.muxed && e.Reason.abrupt():
		s.Reset(e.Reason.Code())
	case !ok && e.Reason.abrupt():
		reset(c.stream)
	default:
		c.stream.Close()
	}
}

// reset closes conn such that its send queue is dropped, if it is TCP.
func reset(conn net.Conn) {
	if tcp := beneath(conn); tcp != nil {
		tcp.SetLinger(0)
		tcp.Close() // first: closing TLS above it would want to send
	}
	conn.Close()
}

// lingerTime is how long a dialled connection waits at its end for the peer
// to have taken what was sent.
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
	c.lingering = true
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

// drainNow tells the peer that this end is going away and sends no more. The
// peer has time to close; what it still sends is read by the handler. A peer
// that can't be told is left alone until its time is up: an EOF in the middle
// of an answer would make it look whole. It reports false if the peer has not
// been heard at all, and there is nothing to wait for.
func (c *Conn) drainNow() bool {
	e := &Error{Reason: Draining}
	c.life.note(e)
	if c.farewell(e) {
		closeWrite(c.stream)
	}
	return c.life.in.Load() > 0
}
