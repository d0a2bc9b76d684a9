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

// A backoff computes the wait before the next attempt: a random time up to a limit that doubles
// with each attempt (full jitter), so that clients which lost their server at once don't come
// back at once.
type backoff struct {
	min, max time.Duration
	limit    time.Duration // of the latest wait; 0: there was none
}

// next returns the next wait: random, from 0 to 1, times the limit. lasted is the age of the
// session that ended, 0 if dialling failed. A session that outlived the limit resets it.
func (b *backoff) next(lasted time.Duration, random float64) time.Duration {
	switch {
	case b.limit == 0, lasted > b.limit:
		b.limit = b.min
	default:
		b.limit = min(2*b.limit, b.max)
	}
	return time.Duration(random * float64(b.limit))
}

// final reports whether Reconnect must not dial again: a newer session of the same client has
// replaced this one, the server lacks or refuses what the client wants, or the ends don't speak
// the same protocol.
func (r Reason) final() bool {
	switch r {
	case Superseded, NoTunnel, Unauthorized, ProtocolError:
		return true
	}
	return false
}

// Reconnect dials addr, calls use with the connection, and dials again when the connection has
// ended. Before each new attempt it emits a [Retrying] event and waits for a random time, and at
// least as long as the server asked for. The limit of the random time doubles while attempts fail
// or sessions are short. A receive from retry, if not nil, ends a wait.
//
// Reconnect closes the connection when use returns, and the context of use ends with ctx or the
// connection. Reconnect returns
//   - use's error, or nil, if the connection was still open when use returned;
//   - the [*Error] of a session that ended with [Superseded], [NoTunnel], [Unauthorized] or
//     [ProtocolError];
//   - ctx's error when ctx ends.
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

// use calls use, and closes c when use has returned.
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
