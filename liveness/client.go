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

// Client dials connections that keep themselves alive: they beat as often as
// the server asks, and notice when the server falls silent. The zero value is
// ready.
//
// The server's answers to beats are read by the application's calls of
// [Conn.Read], so one should always be pending.
type Client struct {
	// Codec is what the server speaks; nil means [codec.Frame]. With
	// [codec.Raw] there are no beats.
	Codec codec.Codec

	// Beat is the longest interval between beats; 0 means what the server asks
	// for, if it does. A server that asks for more frequent ones is obeyed.
	Beat time.Duration

	// NoBeat turns beats off.
	NoBeat bool

	// Policy judges the server. Nil means: as patient as the server is itself,
	// if it beats at all, and asking it before it is judged; so where it can't be
	// asked, after half a line or the end of all of them in [codec.Line], it is not
	// judged.
	Policy Policy

	// Engine grants the leases; nil means one that the process shares.
	Engine *Engine

	// Events is told of the session's beginning and end; see [Config.Events].
	Events func(Event)

	// Transport is what events call the transport.
	Transport string
}

// Dial opens a session to addr and one stream in it. The context bounds the
// dialling, with the exchange of Hellos where the codec has one. Closing the
// connection closes the session.
func (d *Client) Dial(ctx context.Context, t transport.Transport, addr string) (*Conn, error) {
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
	hello, err := c.greet(ctx)
	if err != nil {
		c.giveUp(err)
		return nil, err
	}
	d.prepare(c, hello)
	c.life.begin()
	c.dialler.beat.start()
	if end := c.over.Load(); end != nil && end.err == io.EOF && c.life.noted.Load() == nil {
		c.rmu.Lock()
		c.startReadingOn()
		c.rmu.Unlock()
	}
	return c, nil
}

func (d *Client) newConn(sess transport.Session, stream transport.Stream) *Conn {
	cfg := &Config{Engine: d.Engine, Events: d.Events, Transport: d.Transport}
	c := &Conn{stream: stream, coded: &coded{dialler: new(dialler)}, sess: sess, muxed: sess.Multiplexed()}
	c.life.cfg, c.life.holder = cfg, c
	c.life.began = cfg.engine().time() // anew when it does; the server may say an end before
	if code := d.codec(); code != codec.Raw {
		c.coder = code.Client(codec.Hello{})
		c.allowed.rate = cfg.maxBeats(0)
	}
	return c
}

func (d *Client) codec() codec.Codec {
	if d.Codec == nil {
		return codec.Frame
	}
	return d.Codec
}

// prepare settles how the connection beats and by which policy it is judged,
// now that the server has said how patient it is.
func (d *Client) prepare(c *Conn, hello codec.Hello) {
	every := d.Beat
	if hello.Beat > 0 && (every <= 0 || hello.Beat < every) {
		every = hello.Beat
	}
	if !c.hasCodec() || d.NoBeat {
		every = 0
	}
	if every > 0 {
		counts := hello.Evidence
		if c.hello.Load() == nil {
			counts = codec.Beats // nobody has said what does; a beat always counts
		}
		c.dialler.beat = newBeater(c, every, counts)
		c.allowed.rate = c.life.cfg.maxBeats(every) // each is answered
	}
	policy := d.Policy
	if policy == nil && every > 0 {
		patience := max(hello.Timeout, beatsPerTimeout*min(every, Never/beatsPerTimeout))
		policy = Sliding(patience, ProbeAfter(patience/beatsPerTimeout))
		c.dialler.implied = true
	}
	c.life.policy = policy
}

// greet sends this end's Hello and waits for the server's, where the codec has
// them. What the server sends after it stays for the first Read.
func (c *Conn) greet(ctx context.Context) (codec.Hello, error) {
	if !c.hasCodec() || !c.coder.Pending() {
		return codec.Hello{}, nil
	}
	undo := context.AfterFunc(ctx, func() { c.stream.SetDeadline(past) })
	defer undo()
	c.rmu.Lock()
	defer c.rmu.Unlock()
	c.dialler.greeting = true
	defer func() { c.dialler.greeting = false }()
	if _, err := c.stream.Write(c.coder.AppendPending(nil)); err != nil {
		return codec.Hello{}, greetError(ctx, err)
	}
	for c.hello.Load() == nil {
		r := new(leftover)
		n, err := c.fill(r.buf[:], c.stream.Read)
		if n > 0 {
			r.pending = r.buf[:n]
			c.rest = r
		}
		if err != nil {
			return codec.Hello{}, greetError(ctx, err)
		}
		if end := c.over.Load(); end != nil && c.hello.Load() == nil {
			return codec.Hello{}, greetError(ctx, end.err)
		}
	}
	if !undo() && ctx.Err() != nil {
		return codec.Hello{}, greetError(ctx, ctx.Err())
	}
	return *c.hello.Load(), nil
}

// giveUp ends the session of a connection whose life has not begun. A server
// that broke the codec's rules is told so.
func (c *Conn) giveUp(err error) {
	var breach *Error
	if errors.As(err, &breach) && breach.Initiator == Local {
		c.shut(breach)
		return
	}
	c.sess.Close(Done.Code(), "")
}

func greetError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return fmt.Errorf("liveness: no Hello from the server: %w", err)
}
