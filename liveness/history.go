package liveness

import (
	"math"
	"time"
)

// A History is all that a [Policy] knows of a peer. Its times count from the grant of the lease.
type History struct {
	Age    time.Duration // the time now
	Heard  time.Duration // when the peer was last heard; 0: never since the grant
	Probes int           // probes sent to the peer since it was last heard
	Seed   uint64        // a random number that stays the same for the lease, for jitter
}

// A Verdict is a policy's decision. {At: t} means judge again at age t, and {Probe: true, At: t}
// also means probe the peer now. {Dead: true, Reason: r, At: t} means that the deadline t has
// passed.
type Verdict struct {
	Dead   bool
	Probe  bool
	Reason Reason        // if Dead
	At     time.Duration // since the grant
}

// Never is a [Verdict].At that is never reached.
const Never time.Duration = math.MaxInt64

func judgeAgain(at time.Duration) Verdict { return Verdict{At: at} }

func probeNow(again time.Duration) Verdict { return Verdict{Probe: true, At: again} }

func dead(r Reason, deadline time.Duration) Verdict {
	return Verdict{Dead: true, Reason: r, At: deadline}
}

// after returns a+b, or Never instead of an overflow.
func after(a, b time.Duration) time.Duration {
	if a > Never-b {
		return Never
	}
	return a + b
}
