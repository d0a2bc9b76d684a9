package liveness

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The clock looks up half-way to the next lease that is due, and half-way
// again: when it judges a peer it has been awake for the last moment of its
// silence, and whatever it has slept through before, such as a stop of the
// whole process, has been over for as long again.
func TestRule10TheClockSleepsHalfTheWay(t *testing.T) {
	for _, timeout := range []time.Duration{100 * ms, sec, time.Minute, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			e := calm()
			e.running.Store(true) // by this test, which is the clock
			granted := time.Now()
			w := &watched{policy: Sliding(timeout)}
			e.watch(w)
			wakes := 0
			for ; ; wakes++ {
				e.runTick()
				synctest.Wait()
				if w.expired.Load() != nil {
					break
				}
				left, nap := time.Until(granted.Add(timeout)), e.sleep()
				if nap > max((left+DefaultTick)/2, DefaultTick) {
					t.Errorf("%v before a deadline the clock sleeps for %v", left, nap)
				}
				time.Sleep(nap)
			}
			if late := time.Since(granted) - timeout; late > 2*DefaultTick {
				t.Errorf("late by %v", late)
			}
			// The wheel's horizon is in the way of those who sleep for an hour.
			if most := 20 + 20*int(timeout/time.Minute); wakes > most {
				t.Errorf("%v took %d wake-ups, want no more than %d", timeout, wakes, most)
			}
		})
	}
}

// A lease that is due sooner than what the clock sleeps for wakes it.
func TestRule1AGrantWakesTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := calm()
		long := e.watch(&watched{policy: Sliding(time.Hour)})
		defer long.Release()
		time.Sleep(10 * sec)
		w := &watched{policy: Sliding(sec)}
		e.watch(w)
		wantLife(t, w, time.Now().Add(sec), Silent)
	})
}

// Few renewals let the clock sleep, and many wake it, so that they need not ask.
func TestACrowdGathersAndCalmsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := new(Engine)
		leases := make([]*Lease, 1000)
		for i := range leases {
			leases[i] = e.watch(&watched{policy: Sliding(time.Hour)})
		}
		isCalm := func() bool {
			synctest.Wait()
			e.epochMu.Lock()
			defer e.epochMu.Unlock()
			return e.fine
		}
		if isCalm() {
			t.Error("calm at first")
		}
		if time.Sleep((coarseTicks + 1) * DefaultTick); !isCalm() {
			t.Error("not calm though nobody was heard")
		}
		for range 500 {
			leases[0].Renew()
			if time.Sleep(DefaultTick); !isCalm() {
				t.Fatal("not calm though one only was heard")
			}
		}
		calm := 0
		for range 5 * coarseTicks {
			for _, l := range leases {
				l.Renew()
			}
			if time.Sleep(DefaultTick); isCalm() {
				calm++
			}
		}
		if calm < 4 || calm > 6 {
			t.Errorf("calm in %d of %d ticks of a crowd, want one now and again", calm, 5*coarseTicks)
		}
		if time.Sleep((coarseTicks + 2) * DefaultTick); !isCalm() {
			t.Error("not calm after the crowd has gone")
		}
		for _, l := range leases {
			l.Release()
		}
	})
}

// Those who ask for an epoch get one that is not over yet, and epochs follow
// each other a tick apart, at least, whoever asks.
func TestRule1WhoAsksGetsAnEpochThatIsNotOver(t *testing.T) {
	e := calm()
	first, start := e.epoch.Load(), e.now()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for e.now() < start+200*ms {
				before := e.now()
				stamp := e.shards[i].currentStamp()
				if stamp&stateMask != renewed {
					t.Error("no stamp of a renewal")
				}
				if end := time.Duration(e.ends[stamp>>stateBits%ringSize].Load()); end < before {
					t.Errorf("heard %v after the end of its epoch", before-end)
				}
			}
		})
	}
	wg.Wait()
	if n, most := e.epoch.Load()-first, uint32((e.now()-start)/e.step)+1; n > most || n == 0 {
		t.Errorf("%d epochs in as many as %d ticks", n, most)
	}
}
