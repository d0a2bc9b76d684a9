package liveness

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/livenet/livenet/codec"
)

// A beater sends the heartbeats of a dialled connection. It has a lease that is renewed by what
// this end sends; after an interval without renewal the policy asks for a probe, which is the
// heartbeat. So it needs no goroutine and no timer. A nil beater does nothing.
type beater struct {
	conn      *Conn
	every     time.Duration
	beatsOnly bool // only beats are evidence to the peer: beat while data flows, too
	lease     atomic.Pointer[Lease]
}

// newBeater returns a beater that beats at least every d, for a peer whose evidence is kind. Its
// interval is two ticks shorter, since the engine may be that late.
func newBeater(c *Conn, d time.Duration, kind codec.Evidence) *beater {
	late := 2 * c.state.cfg.engine().tick()
	return &beater{conn: c, every: max(d-late, d/2), beatsOnly: kind == codec.Beats}
}

func (b *beater) start() {
	if b == nil {
		return
	}
	b.lease.Store(b.conn.state.cfg.engine().watch(b))
	// end stores ended before it calls stop. So if it has missed the lease, ended is set here.
	if b.conn.state.ended.Load() != nil {
		b.stop()
	}
}

func (b *beater) stop() {
	if b == nil {
		return
	}
	if l := b.lease.Load(); l != nil {
		l.Release()
	}
}

// sent records that data, or a beat, was sent.
func (b *beater) sent(beat bool) {
	if b == nil || b.beatsOnly && !beat {
		return
	}
	if l := b.lease.Load(); l != nil {
		l.Renew()
	}
}

func (b *beater) Policy() Policy                        { return periodic(b.every) }
func (b *beater) Heard() (ago time.Duration, _, _ bool) { return 0, false, false }
func (b *beater) Arrived() (time.Duration, bool)        { return 0, false }
func (b *beater) Expire(expiry)                         {}

// Probe sends a beat.
func (b *beater) Probe() bool { return b.conn.ping() }

// periodic is a policy that asks for a probe when the lease was not renewed for an interval. The
// interval is shortened by up to a tenth at random, so that connections that began together
// don't probe together.
type periodic time.Duration

func (b periodic) Judge(e History) Verdict {
	every := time.Duration(b)
	spread := mix(e.Seed + uint64(e.Heard))
	due := after(e.Heard, every-time.Duration(spread%uint64(every/10+1)))
	if e.Age >= due {
		return probeNow(e.Age + every)
	}
	return judgeAgain(due)
}

func (b periodic) String() string { return fmt.Sprintf("probe every %v", time.Duration(b)) }

// A rateLimit limits a peer's heartbeats per second. While nothing is read it accumulates
// without a bound: after a stall, or while the handler was busy, all the beats of that time are
// read at once.
type rateLimit struct {
	rate  int32 // a second
	left  float32
	since time.Duration // of the latest take; 0: none yet
}

// take counts n beats at time now, of a connection that began at began. It returns false if they
// exceed the limit.
func (a *rateLimit) take(n int, began, now time.Duration) bool {
	if a.since == 0 {
		a.since, a.left = began, float32(a.rate)
	}
	gained := float32(a.rate) * float32((now - a.since).Seconds())
	a.since = now
	a.left = max(a.left, min(a.left+gained, max(float32(a.rate), gained))) - float32(n)
	return a.left >= 0
}
