package load

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"time"
)

// A crew is the processes of a run that holds sessions: servers and clients, by
// a plan.
type crew struct {
	limits  Limits
	plan    *Plan
	fleet   *fleet
	servers []*hand
	clients []*hand
	tally   tally
}

func newCrew(limits Limits, s Shape, command func() *exec.Cmd) *crew {
	return &crew{limits: limits, plan: limits.Plan(s), fleet: newFleet(command)}
}

// start starts the processes. The orders are completed with what differs from
// one process to the next.
func (c *crew) start(ctx context.Context, serve serveOrder, hold holdOrder) error {
	identity, err := newIdentity(c.plan.Transport)
	if err != nil {
		return err
	}
	serve.Transport, serve.Codec, serve.IO = c.plan.Transport, c.plan.Codec, c.plan.IO
	serve.Listen, serve.ReusePort, serve.Identity = "127.0.0.1:0", c.plan.ReusePort, identity
	for i := range c.plan.Servers {
		h, err := c.fleet.start(fmt.Sprintf("server %d", i+1), order{Serve: &serve})
		if err != nil {
			return err
		}
		c.servers = append(c.servers, h)
		if c.plan.ReusePort && i == 0 {
			if err := c.fleet.awaitReady(ctx, c.servers); err != nil {
				return err
			}
			serve.Listen = h.served.Addr // for all the others
		}
	}
	hold.Transport, hold.Codec = c.plan.Transport, c.plan.Codec
	for i, d := range c.plan.Clients {
		hold := hold
		hold.Sessions, hold.Sources = d.sessions(), d.Sources
		h, err := c.fleet.start(fmt.Sprintf("client %d", i+1), order{Hold: &hold})
		if err != nil {
			return err
		}
		c.clients = append(c.clients, h)
	}
	return c.fleet.awaitReady(ctx, c.fleet.workers)
}

// A tally is what clients and servers have counted.
type tally struct {
	connected, lost, kills int // by the clients
	accepted, live         int // by the servers
	failed                 map[string]int
}

// count brings the tally up to date with what was noted last.
func (c *crew) count() tally {
	t := tally{failed: make(map[string]int)}
	for _, h := range c.clients {
		t.connected += h.client.Connected
		t.lost += h.client.Lost
		t.kills += h.client.FalseKills
		merge(t.failed, h.client.Failed)
	}
	for _, h := range c.servers {
		t.accepted += h.server.Accepted
		t.live += h.server.Live
	}
	c.tally = t
	return t
}

// errStalled is a run in which no session could be opened any more.
var errStalled = errors.New("connecting has stalled")

// stallTime is how long nothing may happen.
const stallTime = 30 * time.Second

// connect has sessions opened: of each client so many to which servers. It
// calls step, if it is given, with how many of them there are.
func (c *crew) connect(ctx context.Context, want [][]Target, step func(opened, all int)) error {
	g := c.newGrants(want)
	first := c.count()
	opened := func(t tally) int { return t.connected - first.connected }
	failed := func(t tally) int { return sum(t.failed) - sum(first.failed) }
	before, stall := -1, time.Now()
	for {
		t := c.count()
		if step != nil {
			step(opened(t), g.total)
		}
		tried := opened(t) + failed(t)
		// Over some transports a server has a session before its client has.
		if g.give(failed(t)) && tried == g.total {
			return nil
		}
		if now := tried + t.accepted; now != before {
			before, stall = now, time.Now()
		}
		within, cancel := context.WithDeadline(ctx, stall.Add(stallTime))
		err := c.fleet.take(within)
		cancel()
		switch {
		case err == nil:
		case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
			return fmt.Errorf("%w at %d of %d sessions", errStalled, opened(t), g.total)
		default:
			return err
		}
	}
}

// settle waits until servers and clients agree on how many sessions there are,
// and a moment longer.
func (c *crew) settle(ctx context.Context, step func(elapsed time.Duration)) error {
	const agree, moment = 10 * time.Second, 500 * time.Millisecond
	for began := time.Now(); ; {
		elapsed := time.Since(began)
		if step != nil {
			step(elapsed)
		}
		if err := c.fleet.ask(ctx, c.fleet.workers, reportOrder{}); err != nil {
			return err
		}
		if t := c.count(); elapsed >= moment && (t.live == t.connected-t.lost || elapsed >= agree) {
			return nil
		}
		if err := pause(ctx, moment/5); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func merge(into, from map[string]int) {
	for k, n := range from {
		into[k] += n
	}
}

// mostly is the most frequent of several.
func mostly(counts map[string]int) string {
	best := ""
	for what, n := range counts {
		if best == "" || n > counts[best] || n == counts[best] && what < best {
			best = what
		}
	}
	return best
}

// filling is how many servers get their sessions at once: there is no more
// than the processors to do it with, and what a server needs only while it is
// being filled is not needed by all at once.
func filling() int { return max(2, runtime.GOMAXPROCS(0)) }
