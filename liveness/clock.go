package liveness

import (
	"math"
	"runtime"
	"time"
)

// The clock is the one goroutine that judges: it looks at the leases whose time
// has come. In a crowd it wakes at every tick, and opens the epochs; when it is
// calm, and nothing due for a while, it sleeps.

// batch is how many leases are judged between two turns of a shard's lock.
const batch = 128

// start starts the clock unless it runs.
func (e *Engine) start() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running.Load() {
		return
	}
	now := e.now()
	e.woke, e.due = now, now+e.step
	for i := range e.shards {
		s := &e.shards[i]
		s.mu.Lock()
		s.wheel.now, s.wheel.next = int64(now/e.step), math.MaxInt64 // it is empty
		s.mu.Unlock()
	}
	e.wakeups = make(chan struct{}, 1)
	e.running.Store(true)
	go e.run(e.wakeups)
}

// wakeClock has the clock look up: the last lease has gone, one is due sooner than
// the others, or there is a crowd.
func (e *Engine) wakeClock() {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case e.wakeups <- struct{}{}:
	default:
	}
}

// stop reports whether the clock may end: no lease is left.
func (e *Engine) stop() bool {
	if !e.idle() {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running.Store(false)
	if !e.idle() { // granted meanwhile, and told that the clock runs
		e.running.Store(true)
		return false
	}
	return true
}

func (e *Engine) run(kicks <-chan struct{}) {
	timer := time.NewTimer(e.sleep())
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			for !e.runTick() {
				runtime.Gosched() // a mass expiry; the others run in between
			}
		case <-kicks:
			e.wake(e.now())
		}
		if e.stop() {
			return
		}
		timer.Reset(e.sleep())
	}
}

// sleep is how long the clock may sleep: to the next whole tick in a crowd, and
// when it is calm, half as long as it is until the next lease is due. What it
// slept through it knows nothing of, such as that the whole process was
// stopped. But then those who read from the peers have at least as long again
// to catch up, before the first is judged.
func (e *Engine) sleep() time.Duration {
	now := e.now()
	tick := int64(now / e.step)
	ticks := int64(1)
	if e.fine && !e.wantCoarse.Load() {
		e.asleep.Store(math.MaxInt64) // whatever is filed from here on counts
		next := tick + horizon
		for i := range e.shards {
			s := &e.shards[i]
			s.mu.Lock()
			next = min(next, s.wheel.peek())
			s.mu.Unlock()
		}
		e.asleep.Store(next)
		ticks = (next - tick) / 2
	}
	if ticks < stallTicks {
		e.asleep.Store(0)
		return time.Duration(tick+1)*e.step - now
	}
	e.wake(now) // it has run until now, or has stalled on its way to bed
	e.due = time.Duration(tick+ticks) * e.step
	return e.due - now
}

// wake takes note that the clock runs. If it should have long before, it has
// stalled: since it last ran, for all it knows.
func (e *Engine) wake(now time.Duration) {
	if now-e.due > (stallTicks-1)*e.step {
		e.stall.record(now, now-e.woke-e.step, now-e.due)
		e.stats.stalls.Add(1)
	}
	e.woke, e.due = now, now+e.step
}

// runTick judges what is due. If that takes longer than a tick it is broken off,
// so that the epochs keep their length, and turn returns false: there is more
// to judge.
func (e *Engine) runTick() bool {
	var now time.Duration
	switch {
	case !e.fine:
		now = e.nextEpoch()
		e.countCoarseTick()
	case e.wantCoarse.Load():
		now = e.switchToCoarse()
	default:
		now = e.now()
	}
	e.wake(now)
	for range e.shards {
		if !e.sweep(&e.shards[e.nextShard], now) {
			return false
		}
		e.nextShard = (e.nextShard + 1) % len(e.shards)
	}
	return true
}

// sweep judges the leases of s that are due. The lock is held in between only:
// policies and witnesses are others' code. It returns false if a tick has
// passed before it was through.
func (e *Engine) sweep(s *shard, now time.Duration) bool {
	var due [batch]*Lease
	var again [batch]time.Duration
	tick := int64(now / e.step)
	for {
		n := 0
		s.mu.Lock()
		for n < batch {
			l := s.wheel.pop(tick)
			if l == nil {
				break
			}
			due[n] = l
			n++
		}
		s.mu.Unlock()
		if n == 0 {
			return true
		}
		for i, l := range due[:n] {
			again[i] = e.judge(l, now)
		}
		s.mu.Lock()
		for i, l := range due[:n] {
			if w := l.word.Load() & stateMask; w == quiet || w == renewed {
				if l.policyChanged {
					l.policyChanged, again[i] = false, 0
				}
				s.file(l, again[i])
			}
		}
		s.mu.Unlock()
		e.sendProbes()
		if e.now()-now > e.step {
			return false
		}
	}
}
