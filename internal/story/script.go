package story

import (
	"fmt"
	"time"

	"github.com/livenet/livenet/internal/stack"
	"github.com/livenet/livenet/liveness"
)

// The script.
const (
	Beats = 10 // before the pause, and again after it
	Every = 2 * time.Second
	Pause = 12 * time.Second
)

// A Part is one connection: its transport and its policy.
type Part struct {
	Transport string
	Policy    string // for people: "sliding 4s"
	Timeout   time.Duration

	sliding bool
}

// Parts returns all transports under both policies.
func Parts() []Part {
	var parts []Part
	for _, name := range stack.Names {
		parts = append(parts, newPart(name, true, 4*time.Second), newPart(name, false, 10*time.Second))
	}
	return parts
}

func newPart(transport string, sliding bool, timeout time.Duration) Part {
	name := "fixed"
	if sliding {
		name = "sliding"
	}
	return Part{transport, fmt.Sprintf("%s %v", name, timeout), timeout, sliding}
}

// End returns when the policy has to end the part.
func (p Part) End() time.Duration {
	if p.sliding {
		return moment(Beats-1) + p.Timeout
	}
	return p.Timeout
}

// Reason returns the expected reason.
func (p Part) Reason() liveness.Reason {
	if p.sliding {
		return liveness.Silent
	}
	return liveness.FixedDeadline
}

// heard returns how many beats arrive before the end, at least: one that is sent at the very
// moment of the end may not.
func (p Part) heard() int {
	if p.sliding {
		return Beats
	}
	return int((p.Timeout-1)/Every) + 1
}

// policy returns the policy, scaled by speed.
func (p Part) policy(speed float64) liveness.Policy {
	d := scale(p.Timeout, 1/speed)
	if p.sliding {
		return liveness.Sliding(d)
	}
	return liveness.Fixed(d)
}

// moment returns when the i-th beat is sent, from 0.
func moment(i int) time.Duration {
	t := time.Duration(i) * Every
	if i >= Beats {
		t += Pause
	}
	return t
}

func scale(d time.Duration, by float64) time.Duration { return time.Duration(float64(d) * by) }
