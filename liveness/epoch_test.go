package liveness

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The clock wakes halfway to the next lease that is due, and halfway again. So when it
// judges a peer, a stall that it did not notice has been over for as long as it slept.
func TestRule10ClockSleepsHalfwayToTheDeadline(t *testing.T) {
	for _, timeout := range []time.Duration{100 * ms, sec, time.Minute, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			e := fineEngine()
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
			// A sleep of an hour is interrupted at the wheel's horizon.
			if most := 20 + 20*int(timeout/time.Minute); wakes > most {
				t.Errorf("%v took %d wake-ups, want no more than %d", timeout, wakes, most)
			}
		})
	}
}

// A grant of a lease that is due before the clock would wake wakes it.
func TestRule1GrantWakesTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fineEngine()
		long := e.watch(&watched{policy: Sliding(time.Hour)})
		defer long.Release()
		time.Sleep(10 * sec)
		w := &watched{policy: Sliding(sec)}
		e.watch(w)
		wantLife(t, w, time.Now().Add(sec), Silent)
	})
}

// Few renewals let the clock sleep; many wake it and switch to coarse mode.
func TestClockSwitchesModes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := new(Engine)
		leases := make([]*Lease, 1000)
		for i := range leases {
			leases[i] = e.watch(&watched{policy: Sliding(time.Hour)})
		}
		isFine := func() bool {
			synctest.Wait()
			e.epochMu.Lock()
			defer e.epochMu.Unlock()
			return e.fine
		}
		if isFine() {
			t.Error("fine mode at first")
		}
		if time.Sleep((coarseTicks + 1) * DefaultTick); !isFine() {
			t.Error("not in fine mode without renewals")
		}
		for range 500 {
			leases[0].Renew()
			if time.Sleep(DefaultTick); !isFine() {
				t.Fatal("not in fine mode with one renewal")
			}
		}
		fine := 0
		for range 5 * coarseTicks {
			for _, l := range leases {
				l.Renew()
			}
			if time.Sleep(DefaultTick); isFine() {
				fine++
			}
		}
		if fine < 4 || fine > 6 {
			t.Errorf("fine mode in %d of %d ticks with many renewals, want a few", fine, 5*coarseTicks)
		}
		if time.Sleep((coarseTicks + 2) * DefaultTick); !isFine() {
			t.Error("not in fine mode after the renewals have stopped")
		}
		for _, l := range leases {
			l.Release()
		}
	})
}

// In fine mode a renewal gets an epoch that is not over, and epochs are at least a tick
// apart, whoever opens them.
func TestRule1RenewalGetsAnEpochThatIsNotOver(t *testing.T) {
	e := fineEngine()
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
