package liveness

import "time"

// judge judges a lease that was taken out of the wheel. It returns the age at which to judge
// it again, which has no meaning if the lease has ended.
func (e *Engine) judge(l *Lease, now time.Duration) time.Duration {
	p := l.subject.Policy()
	var queried bool // query was called
	var doubt bool
	for {
		w := l.word.Load()
		switch w & stateMask {
		case released, expired:
			return Never
		case renewed:
			over := newer(e.epoch.Load(), w>>stateBits)
			e.applyRenewal(l, w>>stateBits)
			if !over {
				break // a further renewal in this epoch would not change the word
			}
			if !l.word.CompareAndSwap(w, quiet) {
				continue
			}
			w = quiet
		}
		ev := l.history(now, time.Duration(l.heard.Load()), int(l.probes))
		v := p.Judge(ev)
		switch {
		case v.Dead:
			ifHeard := ifHeardNow(p, ev)
			if silence := !ifHeard.Dead || ifHeard.Reason != v.Reason; silence {
				if !queried {
					queried = true
					var heard bool
					if heard, doubt = l.query(); heard {
						continue
					}
				}
				probing := probes(p, ev, v.At)
				until := e.stall.grace(suspect{
					age: ev.Age, silence: ev.Age - ev.Heard, timeout: v.At - ev.Heard, granted: l.granted,
					doubt: doubt || l.readLate || probing, deferred: int(l.deferred),
				})
				switch {
				case until > 0 && !ifHeard.Dead:
					l.deferred++
					if l.probes == 0 && probing {
						e.scheduleProbe(l)
					}
					return until
				case until > 0: // a fixed deadline has passed as well, and needs no grace period
					v = ifHeard
				}
			}
			if w != quiet {
				// A renewal up to now has not changed the word. From here on one does.
				if l.word.CompareAndSwap(w, quiet) {
					e.applyRenewal(l, w>>stateBits)
				}
				continue
			}
			if !l.word.CompareAndSwap(w, expired) {
				continue // renewed or released meanwhile
			}
			e.expire(l, ev, v)
			return Never
		case v.Probe:
			e.scheduleProbe(l)
		}
		return v.At
	}
}

// query calls the subject's Heard, and updates heard. It reports whether the peer was heard
// since the last renewal, and whether it may have been heard later than is known. It is called
// once in a judgement: the kernel's clock advances in jiffies, so that a second answer in the
// same jiffy would seem more recent.
func (l *Lease) query() (heard, doubt bool) {
	ago, sure, ok := l.subject.Heard()
	at, known := l.timeOf(ago), time.Duration(l.heard.Load())
	switch heard = ok && at > known; {
	case !heard:
	case at-known > imprecision:
		l.setHeard(at)
	default: // the same arrival as before
		l.heard.Store(int64(at))
	}
	return heard, !sure
}

// imprecision is the most by which two answers about the same arrival differ: two jiffies of
// 10 ms, and the time of the system call.
const imprecision = 25 * time.Millisecond

// applyRenewal updates heard for a renewal that was stamped with epoch. If that was just after
// a stall, the input may have arrived during the stall; then Arrived dates it.
func (e *Engine) applyRenewal(l *Lease, epoch uint32) {
	at, late := e.endOf(epoch), false
	if e.stall.covers(at) {
		if ago, ok := l.subject.Arrived(); ok {
			if arrived := l.timeOf(ago); arrived < at {
				at, late = arrived, true
			}
		}
	}
	l.setHeard(at)
	l.readLate = l.readLate || late
}

// timeOf converts an age to a time on the engine's clock, after the grant.
func (l *Lease) timeOf(ago time.Duration) time.Duration {
	return max(l.granted+1, l.shard.engine.now()-ago)
}

// setHeard moves heard forward, never back.
func (l *Lease) setHeard(at time.Duration) {
	if at > time.Duration(l.heard.Load()) {
		l.heard.Store(int64(at))
		l.probes, l.deferred, l.readLate = 0, 0, false
	}
}

// scheduleProbe counts a probe, and queues it until the lease is filed again.
func (e *Engine) scheduleProbe(l *Lease) {
	l.probes = min(l.probes, 254) + 1
	e.toProbe = append(e.toProbe, l)
}

// sendProbes runs the queued probes on the pool.
func (e *Engine) sendProbes() {
	for _, l := range e.toProbe {
		e.probes.run(task{lease: l})
	}
	clear(e.toProbe)
	e.toProbe = e.toProbe[:0]
}

// probeFailed uncounts a probe that was not possible, unless the lease is being judged again.
func (s *shard) probeFailed(l *Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.link != nil && l.probes > 0 {
		l.probes--
	}
}

// expire counts the expiry and runs it on the pool.
func (e *Engine) expire(l *Lease, ev History, v Verdict) {
	late := e.now() - l.granted - v.At
	e.stats.expired(late)
	l.shard.ended.Add(1)
	e.expiries.run(task{lease: l, expired: true, verdict: v, age: ev.Age, heard: ev.Heard, late: late})
}
