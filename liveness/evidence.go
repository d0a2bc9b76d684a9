package liveness

import (
	"math"
	"time"
)

// Evidence is all that a [Policy] knows of a peer. Times count from the grant of the lease.
type Evidence struct {
	Age    time.Duration // now
	Heard  time.Duration // when the peer was last heard; 0: never since the grant
	Probes int           // probes sent to the peer since it was last heard
	Seed   uint64        // a random number that stays the same for the lease, for jitter
}

// Silence returns the time since the peer was last heard.
func (e Evidence) Silence() time.Duration { return e.Age - e.Heard }

// A Verdict is a policy's decision: judge again at an age; probe the peer now and judge again
// at an age; or the peer is dead, for a reason.
type Verdict struct {
	Dead   bool
	Probe  bool
	Reason Reason        // if Dead
	At     time.Duration // the age at which to judge again; if Dead, the deadline that has passed
}

// Never is the age that is never reached.
const Never time.Duration = math.MaxInt64

// JudgeAgain is the verdict to judge again at age at. Until then the policy must not decide
// otherwise on the same evidence.
func JudgeAgain(at time.Duration) Verdict { return Verdict{At: at} }

// ProbeNow is the verdict to probe the peer now, and to judge again at age at.
func ProbeNow(at time.Duration) Verdict { return Verdict{Probe: true, At: at} }

// Expired is the verdict that the peer's deadline, an age, has passed.
func Expired(r Reason, deadline time.Duration) Verdict {
	return Verdict{Dead: true, Reason: r, At: deadline}
}

// after returns a+b, or Never instead of an overflow.
func after(a, b time.Duration) time.Duration {
	if a > Never-b {
		return Never
	}
	return a + b
}
