package liveness

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/livenet/livenet/codec"
)

// A beater sends the heartbeats of a dialled connection. It is the engine's
// machinery turned around: its lease is renewed by what this end sends, and
// when nothing was sent for an interval its policy asks for a probe, which is
// the heartbeat. So beating takes no goroutine and no timer either. The nil
// beater never beats.
type beater struct {
	conn      *Conn
	every     time.Duration
	beatsOnly bool // the peer counts nothing else: beat while data flows, too
	lease     atomic.Pointer[Lease]
}

// newBeater makes c beat at least every d, for a peer that counts kind. The
// engine may ask for a beat up to two ticks late, so it is asked to be early.
func newBeater(c *Conn, d time.Duration, kind codec.Evidence) *beater {
	late := 2 * c.state.cfg.engine().tick()
	return &beater{conn: c, every: max(d-late, d/2), beatsOnly: kind == codec.Beats}
}

func (b *beater) start() {
	if b == nil {
		return
	}
	b.lease.Store(b.conn.state.cfg.engine().watch(b))
	// Whoever ends the connection says so before it looks for the lease.
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

// sent takes note that data, or a beat, has gone out.
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

// Probe beats. Its policy does not mind whether it could.
func (b *beater) Probe() bool { return b.conn.ping() }

// periodic asks for a probe whenever the lease was not renewed for an interval, or a
// little less: up to a tenth is taken off at random, so that many who began
// together do not probe together.
type periodic time.Duration

func (b periodic) Judge(e Evidence) Verdict {
	every := time.Duration(b)
	spread := mix(e.Seed + uint64(e.Heard))
	due := after(e.Heard, every-time.Duration(spread%uint64(every/10+1)))
	if e.Age >= due {
		return ProbeNow(e.Age + every)
	}
	return JudgeAgain(due)
}

func (b periodic) String() string { return fmt.Sprintf("probe every %v", time.Duration(b)) }

// An rateLimit meters a peer's heartbeats, by the second. It saves up for as
// long as nothing was read: after a stall of this process, or while a handler did
// something else, what the peer has sent meanwhile comes all at once, if it takes
// many reads.
type rateLimit struct {
	rate  int32 // a second
	left  float32
	since time.Duration // when some was last spent; 0: never
}

// take spends n of the allowance of a peer that has been there since began, now.
func (a *rateLimit) take(n int, began, now time.Duration) bool {
	if a.since == 0 {
		a.since, a.left = began, float32(a.rate)
	}
	gained := float32(a.rate) * float32((now - a.since).Seconds())
	a.since = now
	a.left = max(a.left, min(a.left+gained, max(float32(a.rate), gained))) - float32(n)
	return a.left >= 0
}
