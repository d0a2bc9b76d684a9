package liveness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/transport"
)

// Client dials connections that send heartbeats ("beats") as often as the server asks for, and
// that end when the server is silent. The zero value is ready for use.
//
// Keep a call of [Conn.Read] pending: it processes the server's answers to beats.
type Client struct {
	// Codec is the server's codec; nil means [codec.Frame]. With [codec.Raw] there are no
	// beats.
	Codec codec.Codec

	// Beat is the longest interval between beats. The interval is Beat or what the server's
	// Hello asks for, whichever is shorter; 0 means what the Hello asks for.
	Beat time.Duration

	// NoBeat turns beats off.
	NoBeat bool

	// Policy judges the server. Nil means none if this client doesn't beat. Otherwise it
	// means a sliding policy; its timeout is that of the server's Hello, and at least three
	// intervals between beats. It relies on answers to beats, so it doesn't judge the server
	// while none can be sent, as with [codec.Line] within a line and after CloseWrite.
	Policy Policy

	// Evidence is what renews the lease; see [Config.Evidence]. The zero value means bytes.
	// Acks over QUIC need the transport's KeepAlivePeriod, a third of the policy's timeout.
	Evidence codec.Evidence

	// MinBackoff and MaxBackoff bound the wait before Reconnect dials again; 0 means
	// 200 ms and 30 s.
	MinBackoff, MaxBackoff time.Duration

	// Engine grants the leases; nil means one that the process shares.
	Engine *Engine

	// Events receives the session's events; see [Config.Events].
	Events func(Event)

	// Transport names the transport in events.
	Transport string
}

// defaultDialTime bounds a Dial whose context has no deadline.
const defaultDialTime = 10 * time.Second

// Dial opens a session to addr and one stream in it. ctx bounds that, and the exchange of Hellos if
// the codec has them; if ctx has no deadline, Dial takes at most 10 s. Dial returns the transport's
// error, or one for a Policy that doesn't fit Evidence. Closing the connection closes the session.
func (d *Client) Dial(ctx context.Context, t transport.Transport, addr string) (*Conn, error) {
	if d.Policy != nil {
		if err := (&Config{Evidence: d.Evidence}).checkAcks(d.Policy); err != nil {
			return nil, err
		}
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultDialTime)
		defer cancel()
	}
	sess, err := t.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	stream, err := sess.OpenStream(ctx)
	if err != nil {
		sess.Close(Internal.Code(), "")
		return nil, err
	}
	c := d.newConn(sess, stream)
	hello, err := c.exchangeHellos(ctx)
	if err != nil {
		c.giveUp(err)
		return nil, err
	}
	d.prepare(c, hello)
	c.state.begin()
	c.state.announce()
	c.dialed.beat.start()
	if c.multiplexed {
		context.AfterFunc(sess.Context(), c.sessionEnded)
	}
	if c.framed != nil {
		c.readLock.Lock()
		defer c.readLock.Unlock()
		p := c.state.pending.Load()
		switch end := c.framed.in.over; {
		case end == nil:
		case p != nil && p.Reason != PeerClosed: // it came with the Hello
			c.state.end(*p)
		case p == nil && end.err == io.EOF:
			c.framed.in.startBeats()
		}
	}
	return c, nil
}

func (d *Client) newConn(sess transport.Session, stream transport.Stream) *Conn {
	cfg := &Config{Engine: d.Engine, Events: d.Events, Transport: d.Transport, Evidence: d.Evidence}
	c := &Conn{stream: stream, dialed: &dialed{sess: sess, sessionClosed: latch{c: make(chan struct{})}}, multiplexed: sess.Multiplexed()}
	c.state.cfg, c.state.owner = cfg, c
	c.state.began = cfg.engine().time() // set again by begin; the server may close before that
	if code := d.codec(); code != codec.Raw {
		c.framed = newFramed(c, code.Client(codec.Hello{}), cfg.maxBeats(0))
	}
	return c
}

func (d *Client) codec() codec.Codec {
	if d.Codec == nil {
		return codec.Frame
	}
	return d.Codec
}

// prepare sets the connection's beats and its policy, according to the server's Hello.
func (d *Client) prepare(c *Conn, hello codec.Hello) {
	every := d.Beat
	if hello.Beat > 0 && (every <= 0 || hello.Beat < every) {
		every = hello.Beat
	}
	if c.framed == nil || d.NoBeat {
		every = 0
	}
	if every > 0 {
		counts := hello.Evidence
		if c.framed.hello.Load() == nil {
			counts = codec.Beats // unknown without a Hello; a beat is evidence of any kind
		}
		c.dialed.beat = newBeater(c, every, counts)
		c.framed.in.beatLimit.rate = c.state.cfg.maxBeats(every) // the answers are beats, too
	}
	policy := d.Policy
	if policy == nil && every > 0 {
		timeout := max(hello.Timeout, beatsPerTimeout*min(every, Never/beatsPerTimeout))
		policy = Sliding(timeout, ProbeAfter(timeout/beatsPerTimeout))
		c.dialed.defaultPolicy = true
	}
	if policy != nil {
		c.state.usePolicy(&connPolicy{Policy: policy})
	}
}

// exchangeHellos sends this end's Hello and waits for the server's, if the codec has them. It
// keeps data that comes with the server's Hello for the first Read.
func (c *Conn) exchangeHellos(ctx context.Context) (codec.Hello, error) {
	if c.framed == nil || !c.framed.coder.Pending() {
		return codec.Hello{}, nil
	}
	undo := context.AfterFunc(ctx, func() { c.stream.SetDeadline(past) })
	defer undo()
	c.readLock.Lock()
	defer c.readLock.Unlock()
	c.dialed.exchanging = true
	defer func() { c.dialed.exchanging = false }()
	if _, err := c.stream.Write(c.framed.coder.AppendPending(nil)); err != nil {
		return codec.Hello{}, helloError(ctx, err)
	}
	in := &c.framed.in
	for c.framed.hello.Load() == nil {
		own := new(leftover)
		n, err := in.fill(own.buf[:], c.stream.Read)
		if n > 0 {
			own.pending = own.buf[:n]
			in.rest = own
		}
		if e, ok := errors.AsType[*Error](err); c.framed.hello.Load() != nil && !(ok && e.Initiator == Local) {
			break // the first Read returns an end that came with the Hello
		}
		if in.over != nil {
			err = in.over.err
		}
		if err != nil {
			return codec.Hello{}, helloError(ctx, err)
		}
	}
	if !undo() && ctx.Err() != nil {
		return codec.Hello{}, helloError(ctx, ctx.Err())
	}
	return *c.framed.hello.Load(), nil
}

// sessionEnded ends a connection whose session of several streams has ended while no one
// reads from it. If the peer was done, the rest of its data can still be read.
func (c *Conn) sessionEnded() {
	e := endingFrom(explain(context.Cause(c.dialed.sess.Context())))
	if !e.whole() && !c.isReading() {
		c.state.end(e)
	}
}

// giveUp closes the session of a connection whose state has not begun. It sends a Close frame to
// a server that broke the codec's rules.
func (c *Conn) giveUp(err error) {
	var breach *Error
	if errors.As(err, &breach) && breach.Initiator == Local {
		c.interrupt()
		c.sendClose(&ending{Error: *breach}, controlTime)
		c.dialed.sess.Close(breach.Reason.Code(), breach.Text)
		return
	}
	c.dialed.sess.Close(Done.Code(), "")
}

func helloError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return fmt.Errorf("liveness: no Hello from the server: %w", err)
}
