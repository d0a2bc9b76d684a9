package liveness

import (
	"fmt"
	"strings"
	"time"
)

// A Policy decides from evidence whether a peer lives. Judge is a pure
// function: no clock, no lock, no socket, no memory of its own, and cheap,
// since the engine calls it from its own goroutine. For the same evidence but
// a later age its verdict may only move forward: from JudgeAgain at T, it may
// not be anything else before T.
//
// The policies of this package print what they are ("sliding 4s"), which is
// how events name them.
type Policy interface {
	Judge(Evidence) Verdict
}

// Fixed is the short-connection policy: dead of [FixedDeadline] at age d,
// whatever the traffic. It panics if d is not positive.
func Fixed(d time.Duration) Policy { return fixed(positive("Fixed", d)) }

// Sliding is the long-connection policy: dead of [Silent] when the peer has
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

// ProbeAfter asks a peer that has been silent for d for a sign of life, once
// in each silence, before its deadline judges it. It panics if d is not
// positive. A d that is not below the timeout never asks.
func ProbeAfter(d time.Duration) SlidingOption {
	positive("ProbeAfter", d)
	return func(s *sliding) { s.probe = d }
}

// Within is the opening policy: dead of [NoHello] at age d, unless the peer
// has been heard before. It panics if d is not positive.
func Within(d time.Duration) Policy { return within(positive("Within", d)) }

// MaxAge ends a session of [Aged] at age d plus a share of jitter that is drawn
// for each lease, so that sessions that began together do not end together.
// It panics if d is not positive or jitter is negative.
func MaxAge(d, jitter time.Duration) Policy {
	if jitter < 0 {
		panic(fmt.Sprintf("liveness: MaxAge with a negative jitter, %v", jitter))
	}
	return maxAge{positive("MaxAge", d), jitter}
}

// Earliest is the policy of several: whichever verdict's time comes first
// holds, and gives the reason; ties go to the one listed first. It panics if
// ps is empty.
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

func (f fixed) Judge(e Evidence) Verdict {
	return deadline(e.Age, time.Duration(f), FixedDeadline)
}

func (f fixed) String() string { return "fixed " + time.Duration(f).String() }

type sliding struct{ timeout, probe time.Duration }

func (s sliding) Judge(e Evidence) Verdict {
	end := after(e.Heard, s.timeout)
	ask := after(e.Heard, s.probe)
	switch {
	case e.Age >= end:
		return Expired(Silent, end)
	case s.probe == 0 || e.Probes > 0 || ask >= end:
		return JudgeAgain(end)
	case e.Age >= ask:
		// An answer makes the next probe due a probe's time from now: look then.
		return ProbeNow(min(end, after(e.Age, s.probe)))
	default:
		return JudgeAgain(ask)
	}
}

func (s sliding) String() string {
	if s.probe == 0 {
		return "sliding " + s.timeout.String()
	}
	return fmt.Sprintf("sliding %v probing after %v", s.timeout, s.probe)
}

type within time.Duration

func (w within) Judge(e Evidence) Verdict {
	if e.Heard > 0 {
		return JudgeAgain(Never)
	}
	return deadline(e.Age, time.Duration(w), NoHello)
}

func (w within) String() string { return "within " + time.Duration(w).String() }

type maxAge struct{ age, jitter time.Duration }

func (m maxAge) Judge(e Evidence) Verdict {
	d := m.age
	if m.jitter > 0 {
		d = after(d, time.Duration(e.Seed%uint64(m.jitter)))
	}
	return deadline(e.Age, d, Aged)
}

func (m maxAge) String() string {
	if m.jitter == 0 {
		return "max-age " + m.age.String()
	}
	return fmt.Sprintf("max-age %v+%v", m.age, m.jitter)
}

// deadline judges by an age that nothing moves.
func deadline(age, at time.Duration, r Reason) Verdict {
	if age >= at {
		return Expired(r, at)
	}
	return JudgeAgain(at)
}

type earliest struct{ policies []Policy }

func (p *earliest) Judge(e Evidence) Verdict {
	v := p.policies[0].Judge(e)
	for _, q := range p.policies[1:] {
		v = earlier(v, q.Judge(e))
	}
	return v
}

func (p *earliest) String() string {
	names := make([]string, len(p.policies))
	for i, q := range p.policies {
		names[i] = fmt.Sprint(q)
	}
	return strings.Join(names, ", ")
}

// earlier joins two verdicts on the same evidence. A deadline that has passed
// is earlier than any judgement still to come.
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

// patience is how long a peer may stay silent before p gives it up for its
// silence, and false if p never does.
func patience(p Policy) (time.Duration, bool) {
	const heard = time.Nanosecond
	p = latest(p)
	at := deadlineOf(p, Evidence{Age: heard, Heard: heard})
	if at == Never {
		return 0, false
	}
	return at - heard, helps(p, Evidence{Age: at, Heard: heard})
}

// bears is the longest silence that a peer may keep under p, whatever for.
func bears(p Policy) time.Duration {
	const heard = time.Nanosecond
	return deadlineOf(latest(p), Evidence{Age: heard, Heard: heard})
}

// latest is p as a lease has it that has drawn the most of all jitter.
func latest(p Policy) Policy {
	switch p := p.(type) {
	case maxAge:
		return maxAge{age: after(p.age, max(0, p.jitter-1))}
	case *earliest:
		list := make([]Policy, len(p.policies))
		for i, q := range p.policies {
			list[i] = latest(q)
		}
		return &earliest{list}
	}
	return p
}

// deadlineOf is the age at which p gives up a peer that is not heard again.
// Policies are pure, so it is found by asking, step by step.
func deadlineOf(p Policy, e Evidence) time.Duration {
	at, _ := outlook(p, e)
	return at
}

// asks reports whether p has a peer asked that is not heard again, before it gives
// it up.
func asks(p Policy, e Evidence) bool {
	e.Age, e.Probes = e.Heard, 0
	_, asks := outlook(p, e)
	return asks
}

// outlook is both.
func outlook(p Policy, e Evidence) (deadline time.Duration, asks bool) {
	const steps = 64 // a policy needs two or three
	for range steps {
		v := p.Judge(e)
		if v.Dead || v.At == Never {
			return v.At, asks
		}
		if v.Probe {
			e.Probes++
			asks = true
		}
		e.Age = max(v.At, e.Age)
	}
	return e.Age, asks
}

// helps reports whether a sign of life at this very moment would change p's
// verdict that the peer is dead: whether it is a matter of silence at all.
func helps(p Policy, e Evidence) bool { return !hopeFor(p, e).Dead }

// hopeFor is what p's verdict would be if there was a sign of life at this very
// moment.
func hopeFor(p Policy, e Evidence) Verdict {
	e.Heard, e.Probes = e.Age, 0
	return p.Judge(e)
}
