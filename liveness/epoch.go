package liveness

import (
	"sync"
	"sync/atomic"
	"time"
)

// Renewals are dated by epochs, which last about a tick. There are two ways to
// know the current one.
//
// In a crowd, where leases are renewed all the time, the clock opens an epoch
// at every tick and each shard carries its stamp: a renewal reads the stamp,
// and no clock.
//
// When it is calm, a renewal reads the clock itself and opens the epoch, if the
// last one is over. It costs a little more, there are few of them, and the
// engine's clock need not run for their sake.
type epochs struct {
	ends  [ringSize]atomic.Int64 // when each of the latest ended, or will; Never: not known yet
	epoch atomic.Uint32          // the current one

	renewals   atomic.Int32 // renewals that have read the clock in this epoch
	wantCoarse atomic.Bool  // they were too many

	epochMu  sync.Mutex    // held to open an epoch when it is calm, and to change between the two ways
	fine     bool          // written by the clock only, with the lock held
	epochEnd time.Duration // when the current epoch ends, when it is calm

	ticks int // since a crowd gathered; owned by the clock
}

const (
	// ringSize is how many epochs back their ends are known. A lease is looked at
	// within the wheel's horizon, and an epoch lasts at least a tick, but for the
	// last one of a calm.
	ringSize = 8192

	// unknown stands where a stamp would: no lease's word is ever this one, and
	// whoever wants to renew has to ask for the epoch.
	unknown = 1<<stateBits | quiet

	// crowd is how many renewals in one epoch end a calm: where so many messages
	// come in a tick, the tick's own cost is nothing.
	coarseAt = 64

	// calmAfter is for how many ticks it is taken for granted that a crowd stays.
	coarseTicks = 100
)

var _ [ringSize - horizon - nearSlots - horizon/coarseTicks - 1]struct{}

// endOf is a time at or after everything that was stamped with epoch, and not
// after now: its recorded end, or now if that is still to come.
func (e *Engine) endOf(epoch uint32) time.Duration {
	over := newer(e.epoch.Load(), epoch+1)
	end := time.Duration(e.ends[epoch%ringSize].Load())
	if over && end != Never { // which is another epoch's by now
		return end
	}
	return min(end, e.now())
}

// nextEpoch ends an epoch in a crowd, and opens the next. It returns when that
// was.
func (e *Engine) nextEpoch() time.Duration {
	// The new epoch is out before its beginning is read from the clock: whoever
	// stamped a lease with the old one did so before that moment.
	epoch := e.epoch.Load()
	e.publishEpoch(epoch + 1)
	now := e.now()
	e.ends[epoch%ringSize].Store(int64(max(now, e.epochEnd)))
	e.epoch.Store(epoch + 1)
	return now
}

// publishEpoch gives the stamp of an epoch to all shards.
func (e *Engine) publishEpoch(epoch uint32) {
	e.ends[epoch%ringSize].Store(int64(Never))
	for i := range e.shards {
		e.shards[i].stamp.Store(epoch<<stateBits | renewed)
	}
}

// countCoarseTick has a crowd calm down after a while: if there still is one, it gathers
// again in the next tick. To find out otherwise, renewals would have to count.
func (e *Engine) countCoarseTick() {
	if e.ticks++; e.ticks >= coarseTicks {
		e.switchToFine()
	}
}

// switchToFine leaves the epochs to those who renew.
func (e *Engine) switchToFine() {
	e.epochMu.Lock()
	defer e.epochMu.Unlock()
	for i := range e.shards {
		e.shards[i].stamp.Store(unknown)
	}
	// Whoever has seen the last stamp did so before now.
	e.openEpoch(e.epoch.Load(), e.now())
	e.wantCoarse.Store(false)
	e.fine = true
}

// switchToCoarse has the clock open the epochs again, and opens the first. The one
// before ends when it was to end: there may be renewals that have read the
// clock, and relied on it.
func (e *Engine) switchToCoarse() (now time.Duration) {
	e.epochMu.Lock()
	defer e.epochMu.Unlock()
	e.fine, e.ticks = false, 0
	return e.nextEpoch()
}

// openEpoch opens an epoch that ends a tick after now. The lock is held.
func (e *Engine) openEpoch(epoch uint32, now time.Duration) {
	e.epochEnd = now + e.step
	e.ends[epoch%ringSize].Store(int64(e.epochEnd))
	e.epoch.Store(epoch)
	e.renewals.Store(0)
}

// currentStamp is the stamp for a renewal by now: of the current epoch, if that is not
// over, or of one that it opens. That epoch ends after the call, though perhaps
// before the return, of one that is held up.
func (s *shard) currentStamp() (stamp uint32) {
	e := s.engine
	epoch := e.epoch.Load()
	end := time.Duration(e.ends[epoch%ringSize].Load())
	now := e.now()
	// The end is this epoch's for sure if the epoch is still the same.
	if end == Never || now > end || e.epoch.Load() != epoch {
		e.epochMu.Lock()
		defer e.epochMu.Unlock()
		if !e.fine {
			return s.stamp.Load() // the clock has let it out
		}
		epoch = e.epoch.Load()
		if now > e.epochEnd {
			epoch++
			e.openEpoch(epoch, now)
		}
	}
	if e.renewals.Add(1) == coarseAt {
		e.wantCoarse.Store(true)
		e.wakeClock()
	}
	return epoch<<stateBits | renewed
}
