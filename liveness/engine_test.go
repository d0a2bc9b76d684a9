package liveness

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

// A watched is a subject whose expiry and answers a test controls.
type watched struct {
	policy  Policy
	expired atomic.Pointer[expiry]
	at      atomic.Int64 // when it expired, Unix nanoseconds
	probes  atomic.Int32
	onProbe func()
	stuck   atomic.Bool // Probe fails
	heard   func() (time.Duration, bool)
	unsure  func() bool
	arrived func() (time.Duration, bool)
}

func (w *watched) Policy() Policy { return w.policy }
func (w *watched) Heard() (ago time.Duration, sure, ok bool) {
	if w.heard == nil {
		return 0, false, false
	}
	ago, ok = w.heard()
	return ago, ok && (w.unsure == nil || !w.unsure()), ok
}
func (w *watched) Arrived() (time.Duration, bool) {
	if w.arrived == nil {
		return 0, false
	}
	return w.arrived()
}
func (w *watched) Probe() bool {
	w.probes.Add(1)
	if w.onProbe != nil {
		w.onProbe()
	}
	return !w.stuck.Load()
}
func (w *watched) Expire(x expiry) {
	w.at.Store(time.Now().UnixNano())
	if !w.expired.CompareAndSwap(nil, &x) {
		panic("expired twice")
	}
}

// bubble runs f in a bubble with a new engine, once in coarse and once in fine mode.
func bubble(t *testing.T, f func(t *testing.T, e *Engine)) {
	t.Run("coarse", func(t *testing.T) { synctest.Test(t, func(t *testing.T) { f(t, new(Engine)) }) })
	t.Run("fine", func(t *testing.T) { synctest.Test(t, func(t *testing.T) { f(t, fineEngine()) }) })
}

// fineEngine returns an engine in fine mode.
func fineEngine() *Engine {
	e := new(Engine)
	e.once.Do(e.init)
	e.switchToFine()
	return e
}

// sleepUntil sleeps until t, and waits for the other goroutines.
func sleepUntil(at time.Time) {
	time.Sleep(time.Until(at))
	synctest.Wait()
}

// wantLife checks that w is open just before its deadline, and has expired for r within
// two ticks of it.
func wantLife(t *testing.T, w *watched, deadline time.Time, r Reason) {
	t.Helper()
	sleepUntil(deadline.Add(-1))
	if x := w.expired.Load(); x != nil {
		t.Fatalf("expired early: %v, %v before its deadline", x.Reason, time.Until(deadline))
	}
	sleepUntil(deadline.Add(2 * DefaultTick))
	x := w.expired.Load()
	if x == nil {
		t.Fatalf("alive two ticks after its deadline")
	}
	if x.Reason != r {
		t.Errorf("expired for %v, want %v", x.Reason, r)
	}
	if d := x.Deadline.Sub(deadline); d < 0 || d > DefaultTick {
		t.Errorf("the deadline is given %v off", d)
	}
	if x.Late < 0 || x.Late > 2*DefaultTick {
		t.Errorf("late by %v", x.Late)
	}
}

func TestRule1NeverEarlyFixed(t *testing.T) {
	for _, d := range []time.Duration{1, ms, 9 * ms, 10 * ms, 11 * ms, sec, 4*sec + 1, time.Minute, 200 * time.Second} {
		bubble(t, func(t *testing.T, e *Engine) {
			time.Sleep(3 * ms)
			w := &watched{policy: Fixed(d)}
			e.watch(w)
			wantLife(t, w, time.Now().Add(d), FixedDeadline)
		})
	}
}

func TestRule1NeverEarlySliding(t *testing.T) {
	for _, d := range []time.Duration{ms, 10 * ms, 35 * ms, 4 * sec, 100 * time.Second} {
		bubble(t, func(t *testing.T, e *Engine) {
			w := &watched{policy: Sliding(d)}
			l := e.watch(w)
			for i := range 20 {
				time.Sleep(d * time.Duration(i) / 21)
				if !l.Renew() {
					t.Fatalf("expired early, at beat %d", i)
				}
			}
			wantLife(t, w, time.Now().Add(d), Silent)
			if l.Renew() {
				t.Error("an expired lease was renewed")
			}
		})
	}
}

// A clock that is delayed leaves renewals stamped with an epoch that began long ago. No
// peer is ended too early for it.
func TestRule1NeverEarlyWithAStalledClock(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine) {
		w := &watched{policy: Sliding(200 * ms)}
		l := e.watch(w)
		hold := make(chan struct{})
		// A policy that blocks holds up the clock's goroutine.
		e.watch(&watched{policy: stuckPolicy{at: 50 * ms, hold: hold}})
		time.Sleep(155 * ms)
		l.Renew() // stamped with the epoch of 50 ms
		last := time.Now()
		time.Sleep(100 * ms)
		close(hold)
		synctest.Wait()
		// No deadline was missed, so no reprieve is needed: the verdict is exact.
		sleepUntil(last.Add(200*ms - 1))
		if w.expired.Load() != nil {
			t.Fatalf("expired %v after its renewal", time.Since(last))
		}
		sleepUntil(last.Add(time.Second))
		if w.expired.Load() == nil {
			t.Fatal("alive")
		}
	})
}

// A stuckPolicy blocks its first judgement at an age until hold is closed.
type stuckPolicy struct {
	at   time.Duration
	hold chan struct{}
}

func (s stuckPolicy) Judge(e History) Verdict {
	if e.Age < s.at {
		return judgeAgain(s.at)
	}
	<-s.hold
	return dead(FixedDeadline, s.at)
}

// Many leases with random policies and renewals end as a model of the policy alone says.
func TestRule1NeverEarlyAtRandom(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine) {
		r := rand.New(rand.NewPCG(1, 2))
		var wg sync.WaitGroup
		for range 400 {
			d := time.Duration(1 + r.IntN(int(20*sec)))
			beats := r.IntN(30)
			gaps := make([]time.Duration, beats)
			for i := range gaps {
				gaps[i] = time.Duration(r.IntN(int(d)))
			}
			delay := time.Duration(r.IntN(int(30 * sec)))
			age := d + time.Duration(r.IntN(int(100*sec)))
			wg.Go(func() {
				time.Sleep(delay)
				w := &watched{policy: Earliest(Sliding(d), MaxAge(age, 0))}
				l := e.watch(w)
				granted := time.Now()
				end, reason := granted.Add(age), Aged
				for _, gap := range gaps {
					if time.Now().Add(gap).After(end) {
						break
					}
					time.Sleep(gap)
					l.Renew()
				}
				if silent := time.Now().Add(d); silent.Before(end) {
					end, reason = silent, Silent
				}
				time.Sleep(time.Until(end) + 2*DefaultTick)
				synctestSettle()
				x := w.expired.Load()
				if x == nil {
					t.Errorf("alive two ticks after %v", end)
					l.Release()
					return
				}
				if at := time.Unix(0, w.at.Load()); at.Before(end) {
					t.Errorf("ended %v early", end.Sub(at))
				}
				near := end.Sub(granted)-age < DefaultTick && age-end.Sub(granted) < DefaultTick
				if x.Reason != reason && !near {
					t.Errorf("ended for %v, want %v", x.Reason, reason)
				}
			})
		}
		wg.Wait()
	})
}

// synctestSettle lets the goroutines run that are due at this instant.
func synctestSettle() { time.Sleep(1 * time.Nanosecond) }

func TestRule3FixedIsNotMovedByTraffic(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine) {
		w := &watched{policy: Fixed(sec)}
		l := e.watch(w)
		deadline := time.Now().Add(sec)
		for time.Now().Before(deadline.Add(-10 * ms)) {
			time.Sleep(7 * ms)
			l.Renew()
		}
		wantLife(t, w, deadline, FixedDeadline)
	})
}

func TestRule3TheEarliestDeadlineIsTheReason(t *testing.T) {
	tests := []struct {
		name   string
		policy Policy
		beat   time.Duration // 0: none
		want   time.Duration
		reason Reason
	}{
		{"silent before max-age", Earliest(MaxAge(sec, 0), Sliding(300*ms)), 0, 300 * ms, Silent},
		{"max-age before silent", Earliest(Sliding(300*ms), MaxAge(sec, 0)), 100 * ms, sec, Aged},
		{"no hello", Earliest(Sliding(300*ms), within(200*ms)), 0, 200 * ms, NoHello},
		{"a tie", Earliest(Fixed(200*ms), within(200*ms)), 0, 200 * ms, FixedDeadline},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, e *Engine) {
				w := &watched{policy: tt.policy}
				l := e.watch(w)
				deadline := time.Now().Add(tt.want)
				for tt.beat > 0 && time.Until(deadline) > tt.beat {
					time.Sleep(tt.beat)
					l.Renew()
				}
				wantLife(t, w, deadline, tt.reason)
			})
		})
	}
}

func TestMaxAgeJitterSpreadsTheEnds(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine) {
		const n = 1000
		var mu sync.Mutex
		var ends []time.Duration
		start := time.Now()
		for range n {
			e.Grant(MaxAge(10*sec, 10*sec), func(*Error) {
				mu.Lock()
				ends = append(ends, time.Since(start))
				mu.Unlock()
			})
		}
		sleepUntil(start.Add(21 * sec))
		slices.Sort(ends)
		if len(ends) != n || ends[0] < 10*sec || ends[n-1] > 20*sec+2*DefaultTick {
			t.Fatalf("%d ends from %v to %v", len(ends), ends[0], ends[len(ends)-1])
		}
		if mid := ends[n/2]; mid < 14*sec || mid > 16*sec {
			t.Errorf("the median is %v: not spread evenly", mid)
		}
	})
}

func TestProbeBeforeJudgement(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine) {
		answered := &watched{policy: Sliding(sec, ProbeAfter(400*ms))}
		var l *Lease
		answered.onProbe = func() { time.Sleep(30 * ms); l.Renew() }
		l = e.watch(answered)
		silent := &watched{policy: Sliding(sec, ProbeAfter(400*ms))}
		e.watch(silent)
		start := time.Now()
		wantLife(t, silent, start.Add(sec), Silent)
		if n := silent.probes.Load(); n != 1 {
			t.Errorf("probed %d times", n)
		}
		sleepUntil(start.Add(10 * sec))
		if answered.expired.Load() != nil {
			t.Error("expired, though it answered every probe")
		}
		if n := answered.probes.Load(); n < 20 || n > 25 {
			t.Errorf("probed %d times in 10 s", n)
		}
		l.Release()
		time.Sleep(sec) // a probe may be under way
	})
}

// A probe that was not possible is repeated until it is.
func TestRule10AFailedProbeIsRepeated(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine) {
		w := &watched{policy: Sliding(sec, ProbeAfter(300*ms))}
		w.stuck.Store(true)
		var l *Lease
		w.onProbe = func() {
			if !w.stuck.Load() {
				l.Renew()
			}
		}
		l = e.watch(w)
		time.Sleep(500 * ms)
		w.stuck.Store(false)
		time.Sleep(10 * sec)
		if x := w.expired.Load(); x != nil {
			t.Errorf("killed after %d probes, though it answers: %+v", w.probes.Load(), x)
		}
		l.Release()
		synctest.Wait()
	})
}

func TestRule7RenewalAndExpiryAreOrdered(t *testing.T) {
	// Renewals race the deadline for real, on many threads. If Renew returned
	// true, the lease must not have expired on older evidence.
	e := &Engine{Tick: ms}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 30 {
				var at atomic.Int64
				gone := make(chan struct{})
				l := e.Grant(Sliding(4*ms), func(x *Error) { at.Store(time.Now().UnixNano()); close(gone) })
				var last time.Time
				for {
					before := time.Now()
					if !l.Renew() {
						break
					}
					last = before
					if rand.IntN(40) == 0 {
						time.Sleep(4*ms + rand.N(2*ms)) // close to the deadline
					}
				}
				<-gone
				if d := time.Unix(0, at.Load()).Sub(last); d < 4*ms {
					t.Errorf("expired %v after a renewal that was granted", d)
				}
			}
		})
	}
	wg.Wait()
}

func TestRule7ExpiryDoesNotHitASuccessor(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine) {
		old := &watched{policy: Sliding(sec)}
		l := e.watch(old)
		time.Sleep(900 * ms)
		if !l.Release() || l.Release() {
			t.Error("Release reports wrongly whether the lease was live")
		}
		next := &watched{policy: Sliding(sec)}
		e.watch(next)
		wantLife(t, next, time.Now().Add(sec), Silent)
		if old.expired.Load() != nil {
			t.Error("a released lease expired")
		}
		if l.Renew() {
			t.Error("a released lease was renewed")
		}
	})
}

func TestRule7ReleaseAfterExpiryFails(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine) {
		w := &watched{policy: Fixed(sec)}
		l := e.watch(w)
		time.Sleep(2 * sec)
		if l.Release() {
			t.Error("an expired lease was released")
		}
		if n := e.Stats().Live; n != 0 {
			t.Errorf("%d leases live", n)
		}
	})
}

func TestStampsNeverMoveBack(t *testing.T) {
	e := new(Engine)
	e.once.Do(e.init)
	l := &Lease{shard: &e.shards[0]}
	for _, step := range []struct{ stamp, want uint32 }{
		{5, 5}, {4, 5}, {6, 6}, {6, 6}, {epochMask, 6}, // an old one from before the wrap
	} {
		l.renewTo(step.stamp<<stateBits | renewed)
		if got := l.word.Load() >> stateBits; got != step.want {
			t.Errorf("after %d the stamp is %d, want %d", step.stamp, got, step.want)
		}
	}
	l.word.Store(epochMask<<stateBits | renewed)
	l.renewTo(1<<stateBits | renewed)
	if got := l.word.Load() >> stateBits; got != 1 {
		t.Errorf("the stamp did not move over the wrap: %d", got)
	}
}

func TestRule10AStallIsNotThePeersSilence(t *testing.T) {
	const timeout = sec
	for _, stall := range []time.Duration{timeout / 2, timeout, 2 * timeout, 10 * timeout} {
		t.Run(stall.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, e *Engine) {
				alive, dead := &watched{policy: Sliding(timeout)}, &watched{policy: Sliding(timeout)}
				la := e.watch(alive)
				ld := e.watch(dead)
				time.Sleep(600 * ms)
				la.Renew()
				ld.Renew()
				stopClock(e, stall) // no read and no judgement, but the peer goes on sending
				resumed := time.Now()
				// The readers come to their turn a little later than the clock does.
				time.Sleep(25 * ms)
				if !la.Renew() {
					t.Fatalf("killed for our own stall of %v", stall)
				}
				sleepUntil(resumed.Add(25*ms + timeout - 1))
				if alive.expired.Load() != nil {
					t.Error("killed early after a stall")
				}
				sleepUntil(resumed.Add(timeout + 2*DefaultTick))
				if x := dead.expired.Load(); x == nil {
					t.Error("the dead peer is not reaped one timeout and two ticks after the resume")
				} else if x.Reason != Silent {
					t.Errorf("reaped for %v", x.Reason)
				}
				la.Release()
			})
		})
	}
}

// stopClock blocks the clock's goroutine for d.
func stopClock(e *Engine, d time.Duration) { stopClockWith(e, d, func() {}) }

// stopClockWith also calls a function just before the clock goes on.
func stopClockWith(e *Engine, d time.Duration, first func()) {
	hold := make(chan struct{})
	e.watch(&watched{policy: stuckPolicy{at: ms, hold: hold}})
	time.Sleep(3 * DefaultTick)
	time.Sleep(d)
	first()
	close(hold)
	synctest.Wait()
}

func TestRule10RepeatedStallsStillExpireDeadPeers(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine) {
		const timeout = sec
		alive, dead := &watched{policy: Sliding(timeout)}, &watched{policy: Sliding(timeout)}
		la := e.watch(alive)
		e.watch(dead)
		start := time.Now()
		for time.Since(start) < 3*timeout {
			stopClock(e, 8*DefaultTick)
			la.Renew()
		}
		if dead.expired.Load() == nil {
			t.Error("not reaped within three timeouts of a process that stalls for ever")
		}
		if alive.expired.Load() != nil {
			t.Error("a peer that was heard all the time was killed")
		}
		la.Release()
	})
}

func TestRule10AFixedDeadlineHasNoGracePeriod(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine) {
		w := &watched{policy: Fixed(sec)}
		e.watch(w)
		time.Sleep(900 * ms)
		stopClock(e, sec)
		time.Sleep(DefaultTick)
		synctest.Wait()
		if w.expired.Load() == nil {
			t.Error("a fixed deadline was put off: evidence has no say in it")
		}
	})
}

func TestRule10HeardIsCalledBeforeTheVerdict(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine) {
		var arrived atomic.Pointer[time.Time]
		heardCalls := 0
		start := time.Now()
		arrived.Store(&start)
		w := &watched{policy: Sliding(sec)}
		w.heard = func() (time.Duration, bool) { heardCalls++; return time.Since(*arrived.Load()), true }
		e.watch(w)
		time.Sleep(700 * ms)
		last := time.Now()
		arrived.Store(&last)
		wantLife(t, w, last.Add(sec), Silent)
		if heardCalls != 2 {
			t.Errorf("Heard called %d times, want once for each deadline", heardCalls)
		}
		if s := w.expired.Load().Silence; s < sec || s > sec+2*DefaultTick {
			t.Errorf("the silence is given as %v", s)
		}
	})
}

func TestRule11MassExpiryDelaysNoOther(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine) {
		const n = 100_000
		var gone atomic.Int64
		start := time.Now()
		for range n {
			// Ending takes time, as closing a socket does.
			e.Grant(Fixed(sec), func(*Error) { time.Sleep(30 * time.Microsecond); gone.Add(1) })
		}
		w := &watched{policy: Sliding(100 * ms)}
		l := e.watch(w)
		for time.Since(start) < 1500*ms {
			time.Sleep(30 * ms)
			if !l.Renew() {
				t.Fatal("a beating neighbour was killed in a mass expiry")
			}
		}
		if s := e.Stats(); s.LateMax > 2*DefaultTick || s.Expired != n {
			t.Errorf("%d decided, up to %v late", s.Expired, s.LateMax)
		}
		if gone.Load() != n {
			t.Errorf("%d of %d ended", gone.Load(), n)
		}
		l.Release()
	})
}

func TestRule12TheClockStopsWithTheLastLease(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine) {
		for range 3 { // and starts again with the next
			w := &watched{policy: Sliding(50 * ms)}
			l := e.watch(w)
			time.Sleep(20 * ms)
			l.Renew()
			wantLife(t, w, time.Now().Add(50*ms), Silent)
			time.Sleep(2 * DefaultTick)
			synctest.Wait()
			if e.running.Load() {
				t.Error("the clock runs without a lease")
			}
			time.Sleep(time.Hour)
		}
	})
}

func TestRule12ReleasedLeasesLeaveTheWheel(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine) {
		var leases []*Lease
		for range 5000 {
			leases = append(leases, e.Grant(Sliding(time.Duration(1+rand.IntN(int(200*sec)))), func(*Error) {}))
		}
		time.Sleep(ms)
		rand.Shuffle(len(leases), func(i, j int) { leases[i], leases[j] = leases[j], leases[i] })
		for _, l := range leases {
			if !l.Release() {
				t.Fatal("not live")
			}
		}
		for i := range e.shards {
			w := &e.shards[i].wheel
			for _, head := range slices.Concat(w.near[:], w.far[:], w.due[:]) {
				if head != nil {
					t.Fatal("a released lease is still filed")
				}
			}
		}
	})
}

func TestLeaseFigures(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine) {
		e.Grant(Fixed(sec), func(*Error) {}).Release() // the engine's clock counts from here
		time.Sleep(ms)
		l := e.Grant(Earliest(Sliding(sec), MaxAge(5*sec, 0)), func(*Error) {})
		start := time.Now()
		time.Sleep(500 * ms)
		if got := l.Deadline(); !got.Equal(start.Add(sec)) {
			t.Errorf("the deadline is %v after the grant", got.Sub(start))
		}
		l.Renew()
		time.Sleep(300 * ms)
		if got := l.silence(); got < 280*ms || got > 300*ms {
			t.Errorf("the silence is %v", got)
		}
		l.Release()
	})
}

// After a jump beyond the wheel's horizon, say a suspend, all leases that are due are
// judged at once.
func TestRule1NotLateAfterALongStall(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine) {
		r := rand.New(rand.NewPCG(3, 4))
		var list []*watched
		for range 400 {
			w := &watched{policy: Fixed(time.Duration(1 + r.IntN(int(100*sec))))}
			e.watch(w)
			list = append(list, w)
		}
		stopClock(e, 130*sec)
		time.Sleep(2 * DefaultTick)
		synctest.Wait()
		for _, w := range list {
			if w.expired.Load() == nil {
				t.Fatalf("%v is alive after a stall of 130 s", w.policy)
			}
		}
	})
}

// Renewals read a shard's first cache line. What other shards write is on others.
func TestShardsShareNoCacheLine(t *testing.T) {
	const line = 64
	var s shard
	if d := unsafe.Offsetof(s.mu) - unsafe.Offsetof(s.stamp); d < line {
		t.Errorf("the lock is %d bytes after the stamp", d)
	}
	if d := unsafe.Sizeof(s) - unsafe.Offsetof(s.ended); d < line {
		t.Errorf("the next shard's stamp is %d bytes after the last counter", d)
	}
}
