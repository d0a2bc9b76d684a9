package liveness

import (
	"math"
	"runtime"
	"time"
)

// The clock is the one goroutine that judges leases when they are due. In coarse mode it wakes
// at every tick and opens the epochs. In fine mode it sleeps until a lease is due.

// batch is how many leases are popped while a shard's lock is held.
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
		s.wheel.now, s.wheel.next = int64(now/e.step), math.MaxInt64 // empty
		s.mu.Unlock()
	}
	e.wakeups = make(chan struct{}, 1)
	e.running.Store(true)
	go e.run(e.wakeups)
}

// wakeClock wakes the clock: the last lease has ended, a lease is due before the clock would
// wake, or coarse mode is wanted.
func (e *Engine) wakeClock() {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case e.wakeups <- struct{}{}:
	default:
	}
}

// stop marks the clock as stopped if no lease is left, and reports whether it did.
func (e *Engine) stop() bool {
	if !e.idle() {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running.Store(false)
	if !e.idle() { // the grant has seen running as true
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
				runtime.Gosched() // a mass expiry: let other goroutines run
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

// sleep returns how long the clock may sleep: until the next tick in coarse mode; in fine mode,
// half of the time until the next lease is due. The clock doesn't notice a stall of the process
// that is over before it wakes. But then at least as much time as it slept is left for reading
// what the peers sent, before the first of them is judged.
func (e *Engine) sleep() time.Duration {
	now := e.now()
	tick := int64(now / e.step)
	ticks := int64(1)
	if e.fine && !e.wantCoarse.Load() {
		e.asleep.Store(math.MaxInt64) // a lease that is filed from here on wakes the clock
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
	e.wake(now) // records a stall since it last woke
	e.due = time.Duration(tick+ticks) * e.step
	return e.due - now
}

// wake records that the clock runs. If it is late by several ticks, that was a stall, which may
// have begun when the clock last ran.
func (e *Engine) wake(now time.Duration) {
	if now-e.due > (stallTicks-1)*e.step {
		e.stall.record(now, now-e.woke-e.step, now-e.due)
		e.stats.stalls.Add(1)
		e.stats.stalled.Add(int64(now - e.woke))
	}
	e.woke, e.due = now, now+e.step
}

// runTick judges the leases that are due. After a tick it stops, so that epochs keep their
// length, and returns false: more leases are due.
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

// sweep judges the leases of s that are due. It doesn't hold the lock while it calls policies
// and subjects. It returns false if it took longer than a tick, and more may be due.
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
