package liveness

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/livenet/livenet/transport"
)

// Bounds of the wait before a Client dials again; see [Client].Reconnect.
const (
	defaultMinBackoff = 200 * time.Millisecond
	defaultMaxBackoff = 30 * time.Second
)

// A backoff is how long to wait before the next attempt: at random up to a limit, which
// doubles with each attempt (full jitter), so that clients that lost their server together
// do not come back together.
type backoff struct {
	min, max time.Duration
	limit    time.Duration // of the latest wait; 0: there was none
}

// next returns the next wait, of which random (0 to 1) is the luck. lasted is how long the
// session lived, 0 if it could not be had: one that outlived the latest limit starts anew.
func (b *backoff) next(lasted time.Duration, random float64) time.Duration {
	switch {
	case b.limit == 0, lasted > b.limit:
		b.limit = b.min
	default:
		b.limit = min(2*b.limit, b.max)
	}
	return time.Duration(random * float64(b.limit))
}

// final reports whether dialling again would not help: a newer session of the same client
// has taken this one's place, or the two ends don't understand each other.
func (r Reason) final() bool { return r == Superseded || r == ProtocolError }

// Reconnect keeps a session with addr: it dials, calls use with the connection, and when
// that has ended dials again. Before each new attempt it waits, for longer each time that
// an attempt fails or a session does not last, and at least as long as the server asked
// for; Events is told with [Retrying]. A receive from retry (nil: none) ends a wait.
//
// It returns nil when use returns nil on a connection that lives; use's error likewise;
// the [*Error] of a session that ended [Superseded] or with [ProtocolError]; and ctx's
// error when ctx ends. The connection is closed when use returns. The context that use
// gets ends with ctx or the connection.
func (d *Client) Reconnect(ctx context.Context, t transport.Transport, addr string, retry <-chan struct{}, use func(context.Context, *Conn) error) error {
	if d.Policy != nil {
		if err := (&Config{Evidence: d.Evidence}).checkAcks(d.Policy); err != nil {
			return err
		}
	}
	b := backoff{min: orDefault(d.MinBackoff, defaultMinBackoff), max: orDefault(d.MaxBackoff, defaultMaxBackoff)}
	for {
		c, err := d.Dial(ctx, t, addr)
		var lasted, least time.Duration
		if err == nil {
			err = d.use(ctx, c, use)
			end := c.End()
			switch ended := end.Initiator == Local && end.Reason == Done; {
			case ended && err != nil && ctx.Err() != nil: // which has closed it
				return ctx.Err()
			case ended:
				return err
			}
			if end.Reason.final() {
				return end
			}
			err, lasted, least = end, end.Age, c.peerRetryAfter()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		wait := after(least, b.next(lasted, rand.Float64()))
		(&Config{Events: d.Events, Transport: d.Transport}).emit(Event{What: Retrying, Err: err, Wait: wait})
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-retry:
		case <-ctx.Done():
		}
		if timer.Stop(); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// use calls use, and closes c when it has returned.
func (d *Client) use(ctx context.Context, c *Conn, use func(context.Context, *Conn) error) error {
	defer c.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-c.Done():
			cancel(c.End())
		case <-ctx.Done():
			c.Close()
		}
	}()
	return use(ctx, c)
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}
