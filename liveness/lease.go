package liveness

import (
	"sync/atomic"
	"time"
)

// A Lease is the engine's record of one peer. [Engine.Grant] grants it, evidence renews it,
// and it ends once: its owner releases it or the engine expires it. It takes 64 bytes.
type Lease struct {
	// word orders renewals, the release and the expiry: the first compare-and-swap wins. Its
	// low bits are the state; the rest is the epoch of the newest renewal that is not yet
	// copied to heard.
	word atomic.Uint32

	// The shard's lock guards the rest while the lease is filed in the wheel. The clock owns
	// it during a judgement.
	probes        uint8 // since the peer was last heard
	deferred      uint8 // judgements deferred after stalls, since the peer was last heard
	readLate      bool  // the latest evidence lay unread during a stall
	policyChanged bool  // during a judgement; guarded by the shard's lock

	shard *shard
	next  *Lease  // in the wheel's list
	link  **Lease // the pointer to this lease there; nil: not filed

	granted time.Duration // on the engine's clock
	heard   atomic.Int64  // when the peer was last heard, on the engine's clock; 0: never
	subject subject
}

// The states of a lease's word.
const (
	quiet    = uint32(iota) // live; not renewed since the last judgement
	renewed                 // live; renewed in the epoch that the word carries
	released                // ended by its owner
	expired                 // ended by the engine

	stateBits = 2
	stateMask = 1<<stateBits - 1
	epochMask = 1<<(32-stateBits) - 1
)

// Renew records that the peer was heard now. It returns false if the lease has ended. It takes
// nanoseconds. Any goroutine may call it.
func (l *Lease) Renew() bool {
	return l.word.Load() == l.shard.stamp.Load() || renew(l)
}

// renew is Renew for a lease that was not yet renewed in this epoch. It is a function so that
// Renew stays small enough to be inlined. Keeping the slow path out of it saves a sixth of its
// time among a million leases.
func renew(l *Lease) bool {
	stamp, w := l.shard.stamp.Load(), l.word.Load()
	// The words have the same state, so their difference is that of the epochs.
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

// renewTo moves the stamp forward, never back: if two renewals race, the one with the older
// epoch must not overwrite the other.
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

// newer reports whether epoch a is newer than b. Epochs wrap around, but those that are
// compared are never further apart than the wheel's horizon.
func newer(a, b uint32) bool {
	ahead := (a - b) & epochMask
	return ahead != 0 && ahead < epochMask/2
}

// Release ends the lease. It returns false if the lease was released before or has expired.
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

// rejudge files the lease for judgement at the next tick, since its policy has changed.
func (l *Lease) rejudge() {
	s := l.shard
	s.mu.Lock()
	if l.link != nil {
		s.wheel.remove(l)
		s.file(l, s.engine.now()-l.granted)
	} else {
		l.policyChanged = true // being judged, or ended
	}
	sooner := s.wheel.next < s.engine.asleep.Load()
	s.mu.Unlock()
	if sooner {
		s.engine.wakeClock()
	}
}

// silence returns the time since the last renewal, or the grant if there was none, to a tick.
// For a lease that has ended it counts from the last judgement's evidence.
func (l *Lease) silence() time.Duration {
	return max(0, l.shard.engine.now()-max(l.lastHeard(), l.granted))
}

// Deadline returns when the lease expires if it is not renewed again; zero: never.
func (l *Lease) Deadline() time.Time {
	e := l.shard.engine
	d := deadlineOf(l.subject.Policy(), l.history(e.now(), l.lastHeard(), 0))
	if d == Never {
		return time.Time{}
	}
	return e.base.Add(after(l.granted, d))
}

// lastHeard returns when the peer was last heard, on the engine's clock; 0: never.
func (l *Lease) lastHeard() time.Duration {
	if w := l.word.Load(); w&stateMask == renewed {
		return l.shard.engine.endOf(w >> stateBits)
	}
	return time.Duration(l.heard.Load())
}

// history returns the policy's input at time now for a peer that was last heard at heard, both
// on the engine's clock.
func (l *Lease) history(now, heard time.Duration, probes int) History {
	ev := History{Age: now - l.granted, Probes: probes, Seed: l.shard.seedOf(l.granted)}
	if heard > 0 {
		// 0 would mean never heard. And the peer may have been heard after now was read.
		ev.Heard = max(1, heard-l.granted)
		ev.Age = max(ev.Age, ev.Heard)
	}
	return ev
}
