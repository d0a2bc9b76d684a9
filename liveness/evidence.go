package liveness

import (
	"math"
	"time"
)

// Evidence is all that a [Policy] may know of a peer. Times are ages: 0 is the
// moment of the grant.
type Evidence struct {
	Age    time.Duration // now
	Heard  time.Duration // when the peer was last heard; 0: never since the grant
	Probes int           // probes sent to the peer since it was last heard
	Seed   uint64        // a number that stays with the lease, for jitter
}

// Silence is how long the peer has not been heard.
func (e Evidence) Silence() time.Duration { return e.Age - e.Heard }

// A Verdict is a policy's answer: judge again at an age, or probe the peer now
// and judge again at an age, or the peer is dead of a reason.
type Verdict struct {
	Dead   bool
	Probe  bool
	Reason Reason        // of a dead peer
	At     time.Duration // the age to judge again; of a dead peer, the age of the deadline that has passed
}

// Never is the age that is never reached.
const Never time.Duration = math.MaxInt64

// JudgeAgain is the verdict of a policy that has nothing to say before age at.
// No judgement before then, on the same evidence, may differ.
func JudgeAgain(at time.Duration) Verdict { return Verdict{At: at} }

// ProbeNow is the verdict that the peer is to be asked for a sign of life, and
// judged again at age at.
func ProbeNow(at time.Duration) Verdict { return Verdict{Probe: true, At: at} }

// Expired is the verdict that the peer's deadline, at an age that has passed,
// was missed.
func Expired(r Reason, deadline time.Duration) Verdict {
	return Verdict{Dead: true, Reason: r, At: deadline}
}

// after is a sum of ages that stays at Never instead of overflowing.
func after(a, b time.Duration) time.Duration {
	if a > Never-b {
		return Never
	}
	return a + b
}
