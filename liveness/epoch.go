package liveness

import (
	"sync"
	"sync/atomic"
	"time"
)

// Renewals are dated by epochs of about a tick. There are two modes.
//
// In coarse mode, for many renewals, the clock opens an epoch at every tick and publishes its
// stamp in each shard. A renewal reads the stamp, but not the time.
//
// In fine mode, for few renewals, a renewal reads the time, and opens a new epoch if the last
// one is over. It costs a little more, but the clock need not wake at every tick.
type epochs struct {
	ends  [ringSize]atomic.Int64 // when each of the latest epochs ended, or will; Never: not known yet
	epoch atomic.Uint32          // the current one

	renewals   atomic.Int32 // in this epoch, in fine mode
	wantCoarse atomic.Bool  // renewals has reached coarseAt

	epochMu  sync.Mutex    // held to open an epoch in fine mode, and to switch modes
	fine     bool          // the mode; written only by the clock, with epochMu held
	epochEnd time.Duration // when the current epoch ends, in fine mode

	ticks int // since the switch to coarse mode; owned by the clock
}

const (
	// ringSize is the number of epochs whose ends are known. A lease is judged within the
	// wheel's horizon, and an epoch lasts at least a tick, except the last one in fine mode.
	ringSize = 8192

	// unknown is the stamp in fine mode. No lease's word equals it, so a renewal calls
	// currentStamp.
	unknown = 1<<stateBits | quiet

	// coarseAt is the number of renewals in one epoch that switches to coarse mode: with
	// that many, the cost of the tick does not matter.
	coarseAt = 64

	// coarseTicks is for how many ticks coarse mode lasts at least.
	coarseTicks = 100
)

var _ [ringSize - horizon - nearSlots - horizon/coarseTicks - 1]struct{}

// endOf returns the recorded end of epoch, or now if that is earlier. It is at or after all
// renewals that were stamped with epoch.
func (e *Engine) endOf(epoch uint32) time.Duration {
	over := newer(e.epoch.Load(), epoch+1)
	end := time.Duration(e.ends[epoch%ringSize].Load())
	if over && end != Never { // Never is of an epoch that reuses the slot
		return end
	}
	return min(end, e.now())
}

// nextEpoch ends the epoch and opens the next, in coarse mode. It returns when that was.
func (e *Engine) nextEpoch() time.Duration {
	// Publish the new stamp before reading the time: then all renewals with the old stamp
	// were before that time.
	epoch := e.epoch.Load()
	e.publishEpoch(epoch + 1)
	now := e.now()
	e.ends[epoch%ringSize].Store(int64(max(now, e.epochEnd)))
	e.epoch.Store(epoch + 1)
	return now
}

// publishEpoch stores the stamp of an epoch in all shards.
func (e *Engine) publishEpoch(epoch uint32) {
	e.ends[epoch%ringSize].Store(int64(Never))
	for i := range e.shards {
		e.shards[i].stamp.Store(epoch<<stateBits | renewed)
	}
}

// countCoarseTick switches to fine mode after coarseTicks. With many renewals coarse mode is
// back in the next tick; only fine mode counts them.
func (e *Engine) countCoarseTick() {
	if e.ticks++; e.ticks >= coarseTicks {
		e.switchToFine()
	}
}

// switchToFine leaves opening epochs to the renewals.
func (e *Engine) switchToFine() {
	e.epochMu.Lock()
	defer e.epochMu.Unlock()
	for i := range e.shards {
		e.shards[i].stamp.Store(unknown)
	}
	// Renewals that read the last stamp did so before now.
	e.openEpoch(e.epoch.Load(), e.now())
	e.wantCoarse.Store(false)
	e.fine = true
}

// switchToCoarse leaves opening epochs to the clock, and opens the first. The epoch before
// keeps its end, since renewals have relied on it.
func (e *Engine) switchToCoarse() (now time.Duration) {
	e.epochMu.Lock()
	defer e.epochMu.Unlock()
	e.fine, e.ticks = false, 0
	return e.nextEpoch()
}

// openEpoch opens an epoch that ends a tick after now. epochMu is held.
func (e *Engine) openEpoch(epoch uint32, now time.Duration) {
	e.epochEnd = now + e.step
	e.ends[epoch%ringSize].Store(int64(e.epochEnd))
	e.epoch.Store(epoch)
	e.renewals.Store(0)
}

// currentStamp returns the stamp for a renewal in fine mode: that of the current epoch, or of
// one that it opens if that is over. The epoch ends after the call began, but may be over when
// it returns.
func (s *shard) currentStamp() (stamp uint32) {
	e := s.engine
	epoch := e.epoch.Load()
	end := time.Duration(e.ends[epoch%ringSize].Load())
	now := e.now()
	// end belongs to epoch only if epoch is still the current one.
	if end == Never || now > end || e.epoch.Load() != epoch {
		e.epochMu.Lock()
		defer e.epochMu.Unlock()
		if !e.fine {
			return s.stamp.Load() // switched to coarse mode meanwhile
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
