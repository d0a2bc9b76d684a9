package liveness

import (
	"math"
	"runtime"
	"time"
)

// The clock is the one goroutine that judges: it looks at the leases whose time
// has come. In a crowd it wakes at every tick, and opens the epochs; when it is
// calm, and nothing due for a while, it sleeps.

// stallTicks is how many ticks without a wake-up make a stall: something kept
// this process, or this goroutine, from running, and the goroutines that read
// from peers with it.
const stallTicks = 4

// mostDeferred bounds how often a lease's judgement is put off because of
// stalls while its peer stays silent. A stall charges the peer nothing, but a
// process that stalls for ever must still bury the dead.
const mostDeferred = 3

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
	e.kicks = make(chan struct{}, 1)
	e.running.Store(true)
	go e.run(e.kicks)
}

// kick has the clock look up: the last lease has gone, one is due sooner than
// the others, or there is a crowd.
func (e *Engine) kick() {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case e.kicks <- struct{}{}:
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
			for !e.turn() {
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
	if e.calm && !e.crowded.Load() {
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
		e.stall(now, now-e.woke-e.step, now-e.due)
	}
	e.woke, e.due = now, now+e.step
}

// turn judges what is due. If that takes longer than a tick it is broken off,
// so that the epochs keep their length, and turn returns false: there is more
// to judge.
func (e *Engine) turn() bool {
	var now time.Duration
	switch {
	case !e.calm:
		now = e.nextEpoch()
		e.tire()
	case e.crowded.Load():
		now = e.gather()
	default:
		now = e.now()
	}
	e.wake(now)
	for range e.shards {
		if !e.sweep(&e.shards[e.swept], now) {
			return false
		}
		e.swept = (e.swept + 1) % len(e.shards)
	}
	return true
}

// stall takes note that the process has not run for late, and perhaps for d.
// What is left of an earlier stall's grace adds to what is certain of it.
func (e *Engine) stall(now, d, late time.Duration) {
	left := max(0, e.resumed+e.stalled-now)
	if left == 0 {
		e.behind = now
	}
	e.resumed, e.stalled = now, max(d, left+late)
	e.stats.stalls.Add(1)
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
				if l.again {
					l.again, again[i] = false, 0
				}
				s.file(l, again[i])
			}
		}
		s.mu.Unlock()
		e.askAll()
		if e.now()-now > e.step {
			return false
		}
	}
}

// judge looks at a lease that is detached from the wheel. It returns the age
// at which to look again; the lease may have expired, and then it is moot.
func (e *Engine) judge(l *Lease, now time.Duration) time.Duration {
	p := l.subject.Policy()
	var k look
	for {
		w := l.word.Load()
		switch w & stateMask {
		case released, expired:
			return Never
		case renewed:
			over := newer(e.epoch.Load(), w>>stateBits)
			e.hear(l, w>>stateBits)
			if !over {
				break // who renews now finds this stamp, and leaves it as it is
			}
			if !l.word.CompareAndSwap(w, quiet) {
				continue
			}
			w = quiet
		}
		ev := l.evidence(now, time.Duration(l.heard.Load()), int(l.probes))
		v := p.Judge(ev)
		switch {
		case v.Dead:
			if again, put := e.reprieve(l, p, ev, &v, &k); put {
				if again <= ev.Age {
					continue
				}
				return again
			}
			if w != quiet {
				// A renewal by now would have left no trace. One from here on does.
				if l.word.CompareAndSwap(w, quiet) {
					e.hear(l, w>>stateBits)
				}
				continue
			}
			if !l.word.CompareAndSwap(w, expired) {
				continue // heard, or released, at the last moment
			}
			e.bury(l, ev, v)
			return Never
		case v.Probe:
			e.probe(l)
		}
		return v.At
	}
}

// probe has the peer asked for a sign of life, as soon as the lease is filed again.
func (e *Engine) probe(l *Lease) {
	l.probes = min(l.probes, 254) + 1
	e.asking = append(e.asking, l)
}

// askAll has those asked who are to be.
func (e *Engine) askAll() {
	for _, l := range e.asking {
		e.probes.run(task{lease: l})
	}
	clear(e.asking)
	e.asking = e.asking[:0]
}

// unprobed takes note that a probe could not be sent. (Of a lease that is being
// judged again already it is not noted.)
func (s *shard) unprobed(l *Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.link != nil && l.probes > 0 {
		l.probes--
	}
}

// hear dates what l was renewed for, by the stamp of an epoch. What was read
// just after a stall, as long as that was, may have come during it: a witness
// can tell. Then it lay unread.
func (e *Engine) hear(l *Lease, epoch uint32) {
	at, lay := e.endOf(epoch), false
	if at >= e.behind && at <= e.resumed+e.stalled {
		if ago, ok := l.subject.Arrived(); ok {
			if came := l.moment(ago); came < at {
				at, lay = came, true
			}
		}
	}
	l.hear(at)
	l.lay = l.lay || lay
}

// moment is that of something that came so long ago. What came before the grant
// came at the grant.
func (l *Lease) moment(ago time.Duration) time.Duration {
	return max(l.granted+1, l.shard.engine.now()-ago)
}

// hear moves the time at which the peer was last heard forward.
func (l *Lease) hear(at time.Duration) {
	if at > time.Duration(l.heard.Load()) {
		l.heard.Store(int64(at))
		l.probes, l.deferred, l.lay = 0, 0, false
	}
}

// imprecision is by how much a witness's answers about the same thing may differ:
// two of the kernel's jiffies, as long as they may be, and what it takes to ask.
const imprecision = 25 * time.Millisecond

// witnessed is hear of what a witness says, who may say the same again.
func (l *Lease) witnessed(at time.Duration) {
	if at-time.Duration(l.heard.Load()) > imprecision {
		l.hear(at)
		return
	}
	l.heard.Store(int64(at))
}

// A look is what is found at one judgement, beside the evidence.
type look struct {
	// asked says that a witness has been, which it is once. The kernel's clock goes
	// by jiffies: asked again within one, it would give an answer that is more recent
	// by the time since, and again until the jiffy is over.
	asked bool

	// doubt says that the peer may have been heard since, or may have been kept from
	// it: there is no witness, or it isn't sure.
	doubt bool
}

// reprieve asks whether a peer that would be judged dead was heard after all,
// by a witness, or can't be judged yet because this process has stalled and
// what came meanwhile may still lie unread. It returns the age to judge again,
// which has passed already if there is new evidence. Where another deadline has
// passed as well, of which no evidence has a say, nobody is waited for: that is the
// verdict then.
//
// A witness that is sure is believed, unless the peer was to be asked first, which it
// may not have been; or what it was heard by had lain unread, and may have been all that
// there was room for.
func (e *Engine) reprieve(l *Lease, p Policy, ev Evidence, v *Verdict, k *look) (again time.Duration, ok bool) {
	heardNow := hopeFor(p, ev)
	if heardNow.Dead && heardNow.Reason == v.Reason {
		return 0, false // evidence has no say in this
	}
	if !k.asked {
		ago, sure, ok := l.subject.Heard()
		k.asked, k.doubt = true, k.doubt || !sure
		if heard := l.moment(ago); ok && heard > time.Duration(l.heard.Load()) {
			l.witnessed(heard)
			return 0, true
		}
	}
	if !k.doubt && !l.lay && !probes(p, ev, v.At) {
		return 0, false
	}
	patience := v.At - ev.Heard
	grace := min(e.stalled, patience/2)
	if l.deferred > 0 && e.stalled < patience && ev.Silence() >= 2*patience {
		// It has been silent for twice as long as it may be, and we have looked
		// before: stalls that come again and again are no excuse any more, but what
		// has come during the last one is to be read. Only of a stall that is longer
		// than that the looks before tell nothing.
		grace = min(grace, 1) // to the next tick
	}
	grace += e.resumed - l.granted
	if e.stalled == 0 || grace <= ev.Age || l.deferred >= mostDeferred {
		return 0, false
	}
	if heardNow.Dead {
		*v = heardNow
		return 0, false
	}
	l.deferred++
	if l.probes == 0 && probes(p, ev, v.At) {
		e.probe(l)
	}
	return grace, true
}

// bury hands an expired lease over to be ended.
func (e *Engine) bury(l *Lease, ev Evidence, v Verdict) {
	late := e.now() - l.granted - v.At
	e.stats.expired(late)
	l.shard.ended.Add(1)
	e.expiries.run(task{lease: l, expired: true, verdict: v, age: ev.Age, heard: ev.Heard, late: late})
}
