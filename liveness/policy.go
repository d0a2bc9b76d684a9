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
// A policy may have two more methods. String is how events name it ("sliding 4s").
// Deadline(Evidence) time.Duration is the age at which it gives up a peer that is not
// heard again, [Never] if it does not; a policy without one is taken to do so at the
// age at which it wants to judge next.
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

func (f fixed) Deadline(Evidence) time.Duration { return time.Duration(f) }

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

func (s sliding) Deadline(e Evidence) time.Duration { return after(e.Heard, s.timeout) }

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

func (w within) Deadline(e Evidence) time.Duration {
	if e.Heard > 0 {
		return Never
	}
	return time.Duration(w)
}

func (w within) String() string { return "within " + time.Duration(w).String() }

type maxAge struct{ age, jitter time.Duration }

func (m maxAge) Judge(e Evidence) Verdict {
	return deadline(e.Age, m.Deadline(e), Aged)
}

func (m maxAge) Deadline(e Evidence) time.Duration {
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

func (p *earliest) Deadline(e Evidence) time.Duration {
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

// A connPolicy is a policy as a connection has it: with the deadline of the opening
// phase, and with the interval at which the transport is to be asked whether the peer's
// stack answers.
type connPolicy struct {
	Policy
	opening within        // 0: none
	sample  time.Duration // 0: never
}

func (p *connPolicy) Judge(e Evidence) Verdict {
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

func (p *connPolicy) Deadline(e Evidence) time.Duration {
	d := deadlineOf(p.Policy, e)
	if p.opening > 0 {
		d = min(d, p.opening.Deadline(e))
	}
	return d
}

func (p *connPolicy) String() string { return describe(p.Policy) }

// silenceTimeout is how long a peer may stay silent before p gives it up for its
// silence, and false if p never does.
func silenceTimeout(p Policy) (time.Duration, bool) {
	const heard = time.Nanosecond
	p = withMaxJitter(p)
	at := deadlineOf(p, Evidence{Age: heard, Heard: heard})
	if at == Never {
		return 0, false
	}
	return at - heard, !ifHeardNow(p, Evidence{Age: at, Heard: heard}).Dead
}

// longestSilence is the longest silence that a peer may keep under p, whatever for.
func longestSilence(p Policy) time.Duration {
	const heard = time.Nanosecond
	return deadlineOf(withMaxJitter(p), Evidence{Age: heard, Heard: heard})
}

// withMaxJitter is p as a lease has it that has drawn the most of all jitter.
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

// deadlineOf is the age at which p gives up a peer that is not heard again. A policy
// that has a method Deadline says so; the next judgement of another is taken for it.
func deadlineOf(p Policy, e Evidence) time.Duration {
	if d, ok := p.(interface{ Deadline(Evidence) time.Duration }); ok {
		return d.Deadline(e)
	}
	return p.Judge(e).At
}

// probes reports whether p has a peer probed that is not heard again, before it gives
// it up at a deadline.
func probes(p Policy, e Evidence, deadline time.Duration) bool {
	e.Age, e.Probes = max(e.Heard, deadline-1), 0
	return p.Judge(e).Probe
}

// ifHeardNow is what p's verdict would be if the peer was heard at this very moment.
func ifHeardNow(p Policy, e Evidence) Verdict {
	e.Heard, e.Probes = e.Age, 0
	return p.Judge(e)
}
