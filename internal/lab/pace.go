package main

import "time"

// A pace spreads the beats of n sessions evenly over an interval, so that each
// of them beats once in it: session i is due at i/n of every interval.
type pace struct {
	every  time.Duration
	n      int
	passed int64 // slots that are behind us
}

// slots is how many slots begin within the time since the pace began.
func (p *pace) slots(elapsed time.Duration) int64 {
	laps, rest := int64(elapsed/p.every), int64(elapsed%p.every)
	return laps*int64(p.n) + rest*int64(p.n)/int64(p.every)
}

// at is when a slot begins, since the pace began.
func (p *pace) at(slot int64) time.Duration {
	n := int64(p.n)
	laps, rest := slot/n, slot%n
	// Rounded up, so that the slot has begun by then.
	return time.Duration(laps)*p.every + time.Duration((rest*int64(p.every)+n-1)/n)
}

// due calls beat for each session that is due. After a delay of more than an interval each
// session beats once. It returns how late the first of them is.
func (p *pace) due(elapsed time.Duration, beat func(session int)) (late time.Duration) {
	now := p.slots(elapsed)
	if p.passed >= now {
		return 0
	}
	late = elapsed - p.at(p.passed+1)
	p.passed = max(p.passed, now-int64(p.n))
	for ; p.passed < now; p.passed++ {
		beat(int(p.passed % int64(p.n)))
	}
	return max(0, late)
}

// next is when there will be something to do, since the pace began.
func (p *pace) next() time.Duration { return p.at(p.passed + 1) }
