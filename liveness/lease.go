package liveness

import (
	"sync/atomic"
	"time"
)

// A Lease is the engine's record of one session or stream: granted at accept,
// renewed by evidence, and ended once, either released by its holder or
// expired by the engine. It takes 64 bytes.
type Lease struct {
	// word orders renewals, the release and the expiry: whichever changes it
	// first wins. Its low bits are a state, the rest the epoch of the newest
	// renewal that the wheel has not yet dealt with.
	word atomic.Uint32

	// The rest belongs to whoever holds the shard's lock while the lease is
	// filed, and to the clock while it is detached for judgement.
	probes        uint8 // sent since heard
	deferred      uint8 // judgements put off because of our own stalls, since heard
	readLate      bool  // what it was heard by had lain unread during one
	policyChanged bool  // its policy has changed meanwhile; guarded by the shard's lock

	shard *shard
	next  *Lease  // in the wheel's list
	link  **Lease // what points to this lease there; nil: not filed

	granted time.Duration // on the engine's clock
	heard   atomic.Int64  // on the engine's clock, as far as dealt with; 0: never
	subject subject
}

// The states of a lease's word.
const (
	quiet    = uint32(iota) // live; nothing heard since the wheel last looked
	renewed                 // live, and heard in the epoch that the word carries
	released                // ended by its holder
	expired                 // ended by the engine

	stateBits = 2
	stateMask = 1<<stateBits - 1
	epochMask = 1<<(32-stateBits) - 1
)

// Renew records that the peer has been heard, now. It reports whether the
// lease is live: false means that it has ended, and that the evidence came too
// late. It takes nanoseconds, and may be called from any goroutine. If that is just
// after a stall of this process, [subject].Arrived may know better when it was.
func (l *Lease) Renew() bool {
	return l.word.Load() == l.shard.stamp.Load() || renew(l)
}

// renew is Renew of a lease that was not renewed in this epoch before. As a
// function, not a method, it leaves Renew just small enough to be inlined; and
// with all that is rare elsewhere, it takes a sixth less time among a million.
func renew(l *Lease) bool {
	stamp, w := l.shard.stamp.Load(), l.word.Load()
	// Of two words with the same state the difference is that of the epochs.
	ahead := w == quiet || w&stateMask == renewed && int32(stamp-w) > 0
	if ahead && stamp != unknown && l.word.CompareAndSwap(w, stamp) {
		return true
	}
	return l.renewSlowly()
}

func (l *Lease) renewSlowly() bool {
	stamp := l.shard.stamp.Load()
	if stamp == unknown {
		stamp = l.shard.currentStamp()
	}
	return l.renewTo(stamp)
}

// renewTo moves the stamp forward, never back: of two renewals that race, the
// one that read the older epoch must not undo the other.
func (l *Lease) renewTo(stamp uint32) bool {
	for {
		w := l.word.Load()
		switch w & stateMask {
		case released, expired:
			return false
		case renewed:
			if !newer(stamp>>stateBits, w>>stateBits) {
				return true
			}
		}
		if l.word.CompareAndSwap(w, stamp) {
			return true
		}
	}
}

// newer compares epochs, which wrap around. Two epochs that meet are never
// further apart than the wheel's horizon.
func newer(a, b uint32) bool {
	ahead := (a - b) & epochMask
	return ahead != 0 && ahead < epochMask/2
}

// Release ends the lease: the engine forgets it at once. It reports whether it
// was live; false means that it was released before, or has expired.
func (l *Lease) Release() bool {
	for {
		w := l.word.Load()
		if s := w & stateMask; s == released || s == expired {
			return false
		}
		if l.word.CompareAndSwap(w, released) {
			break
		}
	}
	l.shard.forget(l)
	return true
}

// rejudge has the lease judged at the next tick, since its policy has changed.
func (l *Lease) rejudge() {
	s := l.shard
	s.mu.Lock()
	if l.link != nil {
		s.wheel.remove(l)
		s.file(l, s.engine.now()-l.granted)
	} else {
		l.policyChanged = true // it is being judged, or has ended
	}
	sooner := s.wheel.next < s.engine.asleep.Load()
	s.mu.Unlock()
	if sooner {
		s.engine.wakeClock()
	}
}

// Age is how long ago the lease was granted.
func (l *Lease) Age() time.Duration { return l.shard.engine.now() - l.granted }

// Silence is how long ago the lease was last renewed, or granted if it never
// was; to the precision of a tick. Once the lease has ended it tells no more
// than the wheel knew.
func (l *Lease) Silence() time.Duration {
	return max(0, l.shard.engine.now()-max(l.lastHeard(), l.granted))
}

// Deadline is when the lease expires if the peer is not heard again; the zero time
// if it does not.
func (l *Lease) Deadline() time.Time {
	e := l.shard.engine
	d := deadlineOf(l.subject.Policy(), l.evidence(e.now(), l.lastHeard(), 0))
	if d == Never {
		return time.Time{}
	}
	return e.base.Add(after(l.granted, d))
}

// lastHeard is when the peer was last heard, on the engine's clock; 0: never.
func (l *Lease) lastHeard() time.Duration {
	if w := l.word.Load(); w&stateMask == renewed {
		return l.shard.engine.endOf(w >> stateBits)
	}
	return time.Duration(l.heard.Load())
}

// evidence is what the policy gets to see, at now with the peer last heard at
// heard, both on the engine's clock.
func (l *Lease) evidence(now, heard time.Duration, probes int) Evidence {
	ev := Evidence{Age: now - l.granted, Probes: probes, Seed: l.shard.seedOf(l.granted)}
	if heard > 0 {
		// Heard at the instant of the grant is not the same as never heard, and
		// what was heard since now was read is not in the future.
		ev.Heard = max(1, heard-l.granted)
		ev.Age = max(ev.Age, ev.Heard)
	}
	return ev
}
