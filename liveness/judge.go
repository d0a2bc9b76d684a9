package liveness

import "time"

// judge judges a lease that is detached from the wheel. It returns the age at which to
// judge again; the lease may have expired, and then it is moot.
func (e *Engine) judge(l *Lease, now time.Duration) time.Duration {
	p := l.subject.Policy()
	var asked bool // the subject: see query
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
				break // a renewal from now on finds this stamp, and leaves it as it is
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
			ifHeard := ifHeardNow(p, ev)
			if silence := !ifHeard.Dead || ifHeard.Reason != v.Reason; silence {
				if !asked {
					asked = true
					var heard bool
					if heard, doubt = l.query(); heard {
						continue
					}
				}
				probing := probes(p, ev, v.At)
				until := e.stall.grace(suspect{
					age: ev.Age, silence: ev.Silence(), timeout: v.At - ev.Heard, granted: l.granted,
					doubt: doubt || l.readLate || probing, deferred: int(l.deferred),
				})
				switch {
				case until > 0 && !ifHeard.Dead:
					l.deferred++
					if l.probes == 0 && probing {
						e.scheduleProbe(l)
					}
					return until
				case until > 0: // a deadline that no evidence moves has passed as well
					v = ifHeard
				}
			}
			if w != quiet {
				// A renewal by now would have left no trace. One from here on does.
				if l.word.CompareAndSwap(w, quiet) {
					e.applyRenewal(l, w>>stateBits)
				}
				continue
			}
			if !l.word.CompareAndSwap(w, expired) {
				continue // heard, or released, at the last moment
			}
			e.expire(l, ev, v)
			return Never
		case v.Probe:
			e.scheduleProbe(l)
		}
		return v.At
	}
}

// query asks the subject whether the peer was heard since the lease knows of it, and
// whether it may have been without anyone knowing. It is asked once a judgement: the
// kernel's clock goes by jiffies, and asked again within one it would give an answer that
// is more recent by the time since.
func (l *Lease) query() (heard, doubt bool) {
	ago, sure, ok := l.subject.Heard()
	at, known := l.timeOf(ago), time.Duration(l.heard.Load())
	switch heard = ok && at > known; {
	case !heard:
	case at-known > imprecision:
		l.setHeard(at)
	default: // the same again
		l.heard.Store(int64(at))
	}
	return heard, !sure
}

// imprecision is by how much answers about the same thing may differ: two of the
// kernel's jiffies, as long as they may be, and what it takes to ask.
const imprecision = 25 * time.Millisecond

// applyRenewal dates what l was renewed for, by the stamp of an epoch. What was read just after
// a stall may have arrived during it, and lain unread: the subject may know.
func (e *Engine) applyRenewal(l *Lease, epoch uint32) {
	at, lay := e.endOf(epoch), false
	if e.stall.covers(at) {
		if ago, ok := l.subject.Arrived(); ok {
			if came := l.timeOf(ago); came < at {
				at, lay = came, true
			}
		}
	}
	l.setHeard(at)
	l.readLate = l.readLate || lay
}

// timeOf is the time of something that came so long ago. What came before the grant
// came at the grant.
func (l *Lease) timeOf(ago time.Duration) time.Duration {
	return max(l.granted+1, l.shard.engine.now()-ago)
}

// setHeard moves the time at which the peer was last heard forward.
func (l *Lease) setHeard(at time.Duration) {
	if at > time.Duration(l.heard.Load()) {
		l.heard.Store(int64(at))
		l.probes, l.deferred, l.readLate = 0, 0, false
	}
}

// scheduleProbe has the peer asked for a sign of life, as soon as the lease is filed again.
func (e *Engine) scheduleProbe(l *Lease) {
	l.probes = min(l.probes, 254) + 1
	e.toProbe = append(e.toProbe, l)
}

// sendProbes has those asked who are to be.
func (e *Engine) sendProbes() {
	for _, l := range e.toProbe {
		e.probes.run(task{lease: l})
	}
	clear(e.toProbe)
	e.toProbe = e.toProbe[:0]
}

// probeFailed takes note that a probe could not be sent. (Of a lease that is being
// judged again already it is not noted.)
func (s *shard) probeFailed(l *Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.link != nil && l.probes > 0 {
		l.probes--
	}
}

// expire hands an expired lease over to be ended.
func (e *Engine) expire(l *Lease, ev Evidence, v Verdict) {
	late := e.now() - l.granted - v.At
	e.stats.expired(late)
	l.shard.ended.Add(1)
	e.expiries.run(task{lease: l, expired: true, verdict: v, age: ev.Age, heard: ev.Heard, late: late})
}
