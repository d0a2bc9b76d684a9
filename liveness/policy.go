package liveness

import (
	"fmt"
	"strings"
	"time"
)

// A Policy decides from a peer's history whether the peer is dead. Judge must be a pure function,
// without a clock, a lock or state. It must be fast: one goroutine calls it for all leases of an
// engine. After a verdict to judge again at age T, it must return that verdict until T, unless the
// peer is heard or probed.
//
// A policy may have two more methods. String names it in events ("sliding 4s").
// Deadline(History) time.Duration returns the age at which it expires a peer that is not heard
// again, or [Never]. Without it, the At of Judge's verdict is taken as that age.
type Policy interface {
	Judge(History) Verdict
}

// Fixed returns the policy for short connections: it expires the peer at age d with
// [FixedDeadline], whatever it sends. It panics if d is not positive.
func Fixed(d time.Duration) Policy { return fixed(positive("Fixed", d)) }

// Sliding returns the policy for long connections: it expires the peer with [Silent] when it has
// not been heard for d. It panics if d is not positive.
func Sliding(d time.Duration, options ...SlidingOption) Policy {
	s := sliding{timeout: positive("Sliding", d)}
	for _, o := range options {
		o(&s)
	}
	return s
}

// A SlidingOption refines [Sliding].
type SlidingOption func(*sliding)

// ProbeAfter probes a peer that has been silent for d, once in each silence. It has no effect
// unless d is below the timeout. It panics if d is not positive.
func ProbeAfter(d time.Duration) SlidingOption {
	positive("ProbeAfter", d)
	return func(s *sliding) { s.probe = d }
}

// MaxAge returns the policy that ends a session with [Aged] at age d plus a random part of
// jitter, so that sessions that began together don't end together. It panics if d is not
// positive or jitter is negative.
func MaxAge(d, jitter time.Duration) Policy {
	if jitter < 0 {
		panic(fmt.Sprintf("liveness: MaxAge with a negative jitter, %v", jitter))
	}
	return maxAge{positive("MaxAge", d), jitter}
}

// Earliest returns a policy that combines ps: the one whose deadline comes first expires the peer
// and gives the reason. Of equal deadlines, the one listed first does. It panics if ps is empty.
func Earliest(ps ...Policy) Policy {
	if len(ps) == 0 {
		panic("liveness: Earliest of no policy")
	}
	if len(ps) == 1 {
		return ps[0]
	}
	return &earliest{ps}
}

func positive(name string, d time.Duration) time.Duration {
	if d <= 0 {
		panic(fmt.Sprintf("liveness: %s of %v: the duration must be positive", name, d))
	}
	return d
}

type fixed time.Duration

func (f fixed) Judge(e History) Verdict {
	return deadline(e.Age, time.Duration(f), FixedDeadline)
}

func (f fixed) Deadline(History) time.Duration { return time.Duration(f) }

func (f fixed) String() string { return "fixed " + time.Duration(f).String() }

type sliding struct{ timeout, probe time.Duration }

func (s sliding) Judge(e History) Verdict {
	end := after(e.Heard, s.timeout)
	probe := after(e.Heard, s.probe)
	switch {
	case e.Age >= end:
		return dead(Silent, end)
	case s.probe == 0 || e.Probes > 0 || probe >= end:
		return judgeAgain(end)
	case e.Age >= probe:
		// If the peer answers at once, the next probe is due then.
		return probeNow(min(end, after(e.Age, s.probe)))
	default:
		return judgeAgain(probe)
	}
}

func (s sliding) Deadline(e History) time.Duration { return after(e.Heard, s.timeout) }

func (s sliding) String() string {
	if s.probe == 0 {
		return "sliding " + s.timeout.String()
	}
	return fmt.Sprintf("sliding %v probing after %v", s.timeout, s.probe)
}

// within is the policy of the opening phase: it expires a peer that was never heard.
type within time.Duration

func (w within) Judge(e History) Verdict {
	if e.Heard > 0 {
		return judgeAgain(Never)
	}
	return deadline(e.Age, time.Duration(w), NoHello)
}

func (w within) Deadline(e History) time.Duration {
	if e.Heard > 0 {
		return Never
	}
	return time.Duration(w)
}

func (w within) String() string { return "within " + time.Duration(w).String() }

type maxAge struct{ age, jitter time.Duration }

func (m maxAge) Judge(e History) Verdict {
	return deadline(e.Age, m.Deadline(e), Aged)
}

func (m maxAge) Deadline(e History) time.Duration {
	if m.jitter == 0 {
		return m.age
	}
	return after(m.age, time.Duration(e.Seed%uint64(m.jitter)))
}

func (m maxAge) String() string {
	if m.jitter == 0 {
		return "max-age " + m.age.String()
	}
	return fmt.Sprintf("max-age %v+%v", m.age, m.jitter)
}

// deadline returns the verdict for a deadline that does not depend on evidence.
func deadline(age, at time.Duration, r Reason) Verdict {
	if age >= at {
		return dead(r, at)
	}
	return judgeAgain(at)
}

type earliest struct{ policies []Policy }

func (p *earliest) Judge(e History) Verdict {
	v := p.policies[0].Judge(e)
	for _, q := range p.policies[1:] {
		v = earlier(v, q.Judge(e))
	}
	return v
}

func (p *earliest) Deadline(e History) time.Duration {
	d := deadlineOf(p.policies[0], e)
	for _, q := range p.policies[1:] {
		d = min(d, deadlineOf(q, e))
	}
	return d
}

func (p *earliest) String() string {
	names := make([]string, len(p.policies))
	for i, q := range p.policies {
		names[i] = fmt.Sprint(q)
	}
	return strings.Join(names, ", ")
}

// earlier combines two verdicts on the same evidence. A deadline that has passed comes before
// any later judgement.
func earlier(a, b Verdict) Verdict {
	switch {
	case a.Dead != b.Dead:
		if b.Dead {
			return b
		}
		return a
	case a.Dead:
		if b.At < a.At {
			return b
		}
		return a
	}
	return Verdict{Probe: a.Probe || b.Probe, At: min(a.At, b.At)}
}

// A connPolicy is a connection's policy, with the deadline of the opening phase and the interval
// at which the transport is sampled.
type connPolicy struct {
	Policy
	opening within        // 0: none
	sample  time.Duration // 0: never
}

func (p *connPolicy) Judge(e History) Verdict {
	v := p.Policy.Judge(e)
	if p.opening > 0 {
		v = earlier(v, p.opening.Judge(e))
	}
	switch due := after(e.Heard, p.sample); {
	case p.sample == 0 || v.Dead:
		return v
	case e.Age >= due:
		return Verdict{Probe: true, At: min(v.At, after(e.Age, p.sample))}
	default:
		return Verdict{Probe: v.Probe, At: min(v.At, due)}
	}
}

func (p *connPolicy) Deadline(e History) time.Duration {
	d := deadlineOf(p.Policy, e)
	if p.opening > 0 {
		d = min(d, p.opening.Deadline(e))
	}
	return d
}

func (p *connPolicy) String() string { return describe(p.Policy) }

// silenceTimeout returns after how long a silence p expires a peer because of it; false: never.
func silenceTimeout(p Policy) (time.Duration, bool) {
	const heard = time.Nanosecond
	p = withMaxJitter(p)
	at := deadlineOf(p, History{Age: heard, Heard: heard})
	if at == Never {
		return 0, false
	}
	return at - heard, !ifHeardNow(p, History{Age: at, Heard: heard}).Dead
}

// longestSilence returns how long a peer can be silent before p expires it for any reason.
func longestSilence(p Policy) time.Duration {
	const heard = time.Nanosecond
	return deadlineOf(withMaxJitter(p), History{Age: heard, Heard: heard})
}

// withMaxJitter returns p as it is for the lease with the most jitter.
func withMaxJitter(p Policy) Policy {
	switch p := p.(type) {
	case maxAge:
		return maxAge{age: after(p.age, max(0, p.jitter-1))}
	case *connPolicy:
		return &connPolicy{withMaxJitter(p.Policy), p.opening, p.sample}
	case *earliest:
		list := make([]Policy, len(p.policies))
		for i, q := range p.policies {
			list[i] = withMaxJitter(q)
		}
		return &earliest{list}
	}
	return p
}

// deadlineOf returns the age at which p expires a peer that is not heard again: see [Policy].
func deadlineOf(p Policy, e History) time.Duration {
	if d, ok := p.(interface{ Deadline(History) time.Duration }); ok {
		return d.Deadline(e)
	}
	return p.Judge(e).At
}

// probes reports whether p probes a peer that is not heard again before deadline.
func probes(p Policy, e History, deadline time.Duration) bool {
	e.Age, e.Probes = max(e.Heard, deadline-1), 0
	return p.Judge(e).Probe
}

// ifHeardNow returns p's verdict if the peer had been heard just now.
func ifHeardNow(p Policy, e History) Verdict {
	e.Heard, e.Probes = e.Age, 0
	return p.Judge(e)
}
