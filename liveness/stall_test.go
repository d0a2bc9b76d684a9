package liveness

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// However long the stalls, if none is as long as a timeout, a dead peer is judged twice
// within three timeouts. The second judgement expires it.
func TestRule10RepeatedLongStallsStillExpireDeadPeers(t *testing.T) {
	const timeout = sec
	for _, stall := range []time.Duration{timeout / 4, timeout / 2, 7 * timeout / 10, 9 * timeout / 10} {
		t.Run(stall.String(), func(t *testing.T) {
			for phase := time.Duration(0); phase < stall; phase += stall / 5 {
				bubble(t, func(t *testing.T, e *Engine) {
					alive, dead := &watched{policy: Sliding(timeout)}, &watched{policy: Sliding(timeout)}
					la := e.watch(alive)
					stopClock(e, phase)
					e.watch(dead)
					start := time.Now()
					var buried time.Duration
					for buried == 0 && time.Since(start) < 10*timeout {
						stopClock(e, stall)
						// The readers come to their turn a little later than the clock does.
						time.Sleep(2 * DefaultTick)
						if !la.Renew() {
							t.Fatalf("phase %v: a peer that was heard whenever we ran was killed", phase)
						}
						if dead.expired.Load() != nil {
							buried = time.Since(start)
						}
					}
					if buried == 0 || buried > 3*timeout {
						t.Errorf("phase %v: the dead peer was reaped after %v", phase, buried)
					}
					la.Release()
				})
			}
		})
	}
}

// Stalls longer than a timeout prove nothing about the peer, so one that follows another
// soon does not end the grace period.
func TestRule10AStallAfterAStall(t *testing.T) {
	const timeout = sec
	bubble(t, func(t *testing.T, e *Engine) {
		alive := &watched{policy: Sliding(timeout)}
		la := e.watch(alive)
		for range 3 {
			stopClock(e, 10*timeout)
			time.Sleep(2 * DefaultTick) // awake for a moment, in which nothing was read
		}
		time.Sleep(timeout / 4)
		if !la.Renew() {
			t.Error("expired before its data could be read")
		}
		la.Release()
	})
}

// The kernel counts in jiffies: repeated answers are a little more recent each time until
// the next jiffy. So Heard is called once in a judgement.
func TestRule10HeardIsCalledOncePerJudgement(t *testing.T) {
	const timeout, stall = sec, 200 * ms
	bubble(t, func(t *testing.T, e *Engine) {
		heardCalls := 0
		began := time.Now()
		w := &watched{policy: Sliding(timeout)}
		w.heard = func() (time.Duration, bool) {
			heardCalls++
			return time.Since(began) - time.Duration(heardCalls)*time.Microsecond, true
		}
		e.watch(w)
		time.Sleep(timeout - stall/2)
		stopClock(e, stall) // when it is looked at, it is overdue
		time.Sleep(2 * DefaultTick)
		if x := w.expired.Load(); x == nil {
			t.Error("alive")
		} else if x.Silence < timeout {
			t.Errorf("ended after a silence of %v", x.Silence)
		}
		if heardCalls != 1 {
			t.Errorf("Heard called %d times", heardCalls)
		}
	})
}

// However often this process has stalled, what arrived during the latest stall can be
// read before the verdict.
func TestRule10NoVerdictRightAfterAResume(t *testing.T) {
	const timeout, stall = sec, 450 * ms
	bubble(t, func(t *testing.T, e *Engine) {
		for missed := range 6 {
			l := e.watch(&watched{policy: Sliding(timeout)})
			for range missed { // and had no time to read
				stopClock(e, stall)
				time.Sleep(DefaultTick / 2)
			}
			if !l.Renew() {
				t.Errorf("killed %d ms after the resume from stall %d", DefaultTick.Milliseconds()/2, missed)
			}
			l.Release()
		}
	})
}

// A stall counts wherever it catches the clock, also just before it sleeps.
func TestRule10AStallBeforeTheClockSleepsCounts(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine) {
		e.once.Do(e.init)
		e.running.Store(true) // by this test, which is the clock
		e.wake(e.now())
		e.watch(&watched{policy: Sliding(time.Minute)})
		e.runTick()
		time.Sleep(10 * sec)
		time.Sleep(e.sleep())
		e.runTick()
		if e.stall.length < 10*sec-DefaultTick {
			t.Errorf("a stall of %v, want 10 s", e.stall.length)
		}
	})
}

// A clock that wakes too late takes the whole of its sleep for a stall, since it may have
// been one.
func TestRule10AStallDuringASleepCountsFromItsStart(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine) {
		e.once.Do(e.init)
		e.woke, e.due = e.now(), e.now()+5*sec
		time.Sleep(5*sec + (stallTicks-1)*DefaultTick)
		if e.wake(e.now()); e.stall.length != 0 {
			t.Errorf("a stall of %v, though it woke in time", e.stall.length)
		}
		e.due = e.now() + 5*sec
		time.Sleep(5*sec + stallTicks*DefaultTick)
		if e.wake(e.now()); e.stall.length < 5*sec {
			t.Errorf("a stall of %v, want all of its sleep", e.stall.length)
		}
	})
}

// Input that lay unread during a stall is dated to its arrival if Arrived knows it, so a
// peer that died meanwhile is not ended later.
func TestRule10ArrivedDatesInputReadAfterAStall(t *testing.T) {
	const timeout, stall, behind = sec, 500 * ms, 200 * ms
	bubble(t, func(t *testing.T, e *Engine) {
		began := time.Now()
		arrived := began.Add(100 * ms)
		dead := &watched{policy: Sliding(timeout)}
		dead.arrived = func() (time.Duration, bool) { return time.Since(arrived), true }
		unknown := &watched{policy: Sliding(timeout)}
		ld, lu := e.watch(dead), e.watch(unknown)
		stopClock(e, stall)
		time.Sleep(behind)
		ld.Renew()
		lu.Renew()
		read := time.Now()
		stopClock(e, 5*DefaultTick) // later than stallTicks
		wantLife(t, dead, arrived.Add(timeout), Silent)
		wantLife(t, unknown, read.Add(timeout), Silent)
	})
}

// So is input that is read before the clock wakes.
func TestRule10ArrivedDatesInputReadBeforeTheClockWakes(t *testing.T) {
	const timeout, stall = sec, 500 * ms
	bubble(t, func(t *testing.T, e *Engine) {
		arrived := time.Now().Add(100 * ms)
		dead := &watched{policy: Sliding(timeout)}
		dead.arrived = func() (time.Duration, bool) { return time.Since(arrived), true }
		l := e.watch(dead)
		stopClockWith(e, stall, func() { l.Renew() })
		wantLife(t, dead, arrived.Add(timeout), Silent)
	})
}

// Without a stall, input is dated to when it was read: Arrived costs a system call.
func TestRule10ArrivedIsCalledOnlyAfterAStall(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine) {
		w := &watched{policy: Sliding(2 * sec)}
		w.arrived = func() (time.Duration, bool) { t.Error("Arrived called"); return 0, false }
		l := e.watch(w)
		for range 20 {
			time.Sleep(300 * ms)
			l.Renew()
		}
		stopClock(e, 500*ms)
		time.Sleep(600 * ms) // as long as that the process may have been behind
		l.Renew()
		wantLife(t, w, time.Now().Add(2*sec), Silent)
	})
}

// Only the delay of a clock that wakes late is certain. Repeated short delays don't defer
// a verdict for as long as all the sleeps.
func TestRule10ShortDelaysDoNotAddUp(t *testing.T) {
	const timeout, hiccup = time.Minute, 4 * DefaultTick
	for hiccups := range 6 {
		synctest.Test(t, func(t *testing.T) {
			e := fineEngine()
			e.running.Store(true) // by this test, which is the clock
			start := time.Now()
			w := &watched{policy: Sliding(timeout)}
			e.watch(w)
			for i := 0; w.expired.Load() == nil; i++ {
				nap := e.sleep()
				if i < hiccups {
					nap += hiccup
				}
				time.Sleep(nap)
				e.runTick()
				synctest.Wait()
			}
			late := time.Unix(0, w.at.Load()).Sub(start) - timeout
			if most := 2*DefaultTick + time.Duration(hiccups)*hiccup; late < 0 || late > most {
				t.Errorf("after %d hiccups late by %v, want at most %v", hiccups, late, most)
			}
		})
	}
}

// A peer whose policy probes it, but was not probed because of a stall, is probed after
// it and has time to answer; whether or not Heard says that nothing has arrived. If it
// does not answer, it expires.
func TestRule10AProbeMissedInAStallIsSent(t *testing.T) {
	const timeout, probe, before = sec, 300 * ms, 100 * ms
	for _, stall := range []time.Duration{5 * timeout, timeout, timeout - before - 50*ms} {
		for _, known := range []bool{true, false} {
			t.Run(fmt.Sprintf("%v, Heard has an answer: %v", stall, known), func(t *testing.T) {
				bubble(t, func(t *testing.T, e *Engine) {
					var answered atomic.Pointer[time.Time]
					var l atomic.Pointer[Lease]
					began := time.Now()
					answered.Store(&began)
					alive := &watched{policy: Sliding(timeout, ProbeAfter(probe)), onProbe: func() {
						time.Sleep(30 * ms)
						now := time.Now()
						answered.Store(&now)
						l.Load().Renew()
					}}
					dead := &watched{policy: alive.policy}
					if known {
						alive.heard = func() (time.Duration, bool) { return time.Since(*answered.Load()), true }
						dead.heard = func() (time.Duration, bool) { return time.Since(began), true }
					}
					l.Store(e.watch(alive))
					ld := e.watch(dead)
					time.Sleep(before)
					stopClock(e, stall-3*DefaultTick)
					resumed := time.Now()
					time.Sleep(timeout)
					if x := alive.expired.Load(); x != nil || alive.probes.Load() == 0 {
						t.Errorf("asked %d times, and ended: %+v", alive.probes.Load(), x)
					}
					if x := dead.expired.Load(); x == nil {
						t.Error("who does not answer is not given up")
					} else if d := time.Unix(0, dead.at.Load()).Sub(resumed); d > timeout/2+2*DefaultTick {
						t.Errorf("who does not answer is given up %v after the stall", d)
					}
					l.Load().Release()
					ld.Release()
					time.Sleep(30 * ms) // for an answer that may be on its way
				})
			})
		}
	}
}

// The grace period for a full buffer lasts until new evidence, however often the peer is
// judged. An answer of Heard that differs only by its precision is none.
func TestRule10AFullBufferIsRememberedUntilNewEvidence(t *testing.T) {
	const timeout = sec
	for name, wavers := range map[string]time.Duration{"exact": 0, "wavering": ms} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, e *Engine) {
				filled := time.Now().Add(80 * ms)
				heardCalls := time.Duration(0)
				w := &watched{policy: Sliding(timeout)}
				w.arrived = func() (time.Duration, bool) { return time.Since(filled), true }
				w.heard = func() (time.Duration, bool) {
					heardCalls++
					return time.Since(filled) - heardCalls*wavers, true
				}
				l := e.watch(w)
				time.Sleep(50 * ms)
				l.Renew()
				stopClock(e, timeout-150*ms)
				time.Sleep(2 * ms)
				l.Renew()                                   // the first judgement uses this
				sleepUntil(filled.Add(timeout + timeout/8)) // the peer's news take their time
				if !l.Renew() {
					t.Errorf("killed: %+v", w.expired.Load())
				}
				l.Release()
			})
		})
	}
}

// If two deadlines have passed in one stall, and the peer may have met the first, the
// second is the reason.
func TestRule10AStallAcrossTwoDeadlines(t *testing.T) {
	const silence, end, stall = sec, 1500 * ms, 2 * sec
	for name, test := range map[string]struct {
		witness func(began time.Time) (ago time.Duration, ok bool)
		unsure  bool
		want    Reason
	}{
		"it was heard":        {witness: func(began time.Time) (time.Duration, bool) { return time.Since(began.Add(900 * ms)), true }, want: FixedDeadline},
		"nobody knows":        {want: FixedDeadline},
		"somebody isn't sure": {witness: func(began time.Time) (time.Duration, bool) { return time.Since(began.Add(ms)), true }, unsure: true, want: FixedDeadline},
		"it was not heard":    {witness: func(began time.Time) (time.Duration, bool) { return time.Since(began.Add(ms)), true }, want: Silent},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, e *Engine) {
				began := time.Now()
				w := &watched{policy: Earliest(Sliding(silence), Fixed(end))}
				w.unsure = func() bool { return test.unsure }
				if test.witness != nil {
					w.heard = func() (time.Duration, bool) { return test.witness(began) }
				}
				e.watch(w)
				time.Sleep(50 * ms)
				stopClock(e, stall)
				time.Sleep(2 * DefaultTick)
				if x := w.expired.Load(); x == nil {
					t.Error("it is not ended")
				} else if x.Reason != test.want {
					t.Errorf("ended %v, want %v", x.Reason, test.want)
				}
			})
		})
	}
}

// Input that lay unread may have filled the buffer: its sender has time to go on, also if
// it is read while the clock judges others.
func TestRule10AFullBufferGetsAGracePeriod(t *testing.T) {
	const timeout, stall = sec, 3 * sec
	bubble(t, func(t *testing.T, e *Engine) {
		began := time.Now()
		var read atomic.Bool
		var leases []*Lease
		var uploading []*watched
		for range 64 { // in all shards
			w := &watched{policy: Sliding(timeout)}
			w.arrived = func() (time.Duration, bool) { return time.Since(began), true }
			w.heard = func() (time.Duration, bool) { return time.Since(began), true }
			w.unsure = func() bool { return !read.Load() }
			uploading = append(uploading, w)
			leases = append(leases, e.watch(w))
		}
		busy := &watched{policy: Sliding(timeout)}
		busy.heard = func() (time.Duration, bool) {
			time.Sleep(DefaultTick / 2)
			for _, l := range leases {
				l.Renew()
			}
			read.Store(true)
			time.Sleep(DefaultTick)
			return time.Since(began), true
		}
		e.watch(busy)
		stopClock(e, stall)
		time.Sleep(100 * ms) // the peers hear that there is room
		for i, l := range leases {
			if !l.Renew() {
				t.Errorf("killed: %+v", uploading[i].expired.Load())
			}
			l.Release()
		}
	})
}

// A peer reads nothing while this process doesn't send: a stall extends its window.
func TestRule10AStallDoesNotCountForMinPace(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine) {
		const timeout, stall = 4 * sec, 3 * sec
		a, b := net.Pipe()
		defer b.Close()
		c := NewConn(a, &Config{Policy: Sliding(timeout), MinPace: 1000, Engine: e})
		var renewing sync.WaitGroup
		defer renewing.Wait()
		renewing.Go(func() {
			for c.Renew() {
				time.Sleep(timeout / 8)
			}
		})
		go c.Write(make([]byte, 1<<20))
		time.Sleep(timeout / 2)
		stopClock(e, stall)
		resumed := time.Now()
		<-c.Done()
		if d := time.Since(resumed); c.End().Reason != TooSlow || d < timeout || d > timeout*3/2+5*DefaultTick {
			t.Errorf("%v after %v", c.End(), d)
		}
	})
}
