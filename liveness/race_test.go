package liveness

import (
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/transport"
)

// These tests make things happen at one instant. If the engine calls a subject or a
// policy in between, that does it. Otherwise there are many tries.

// A race makes two calls at the same instant, again and again.
type race struct {
	before     func()
	one, other func()
	after      func() bool // false: that's enough
}

// run runs the race n times, or fewer if that takes long, as it does without a processor
// for each of the two.
func (r race) run(n int) {
	var m meeting
	var over atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			m.wait()
			if over.Load() {
				return
			}
			r.other()
			m.wait()
		}
	})
	for start := time.Now(); n > 0 && time.Since(start) < 300*ms; n-- {
		r.before()
		m.wait()
		r.one()
		m.wait()
		if !r.after() {
			break
		}
	}
	over.Store(true)
	m.wait()
	wg.Wait()
}

// A meeting is where two goroutines wait for each other by spinning, so that they go on
// at the same instant.
type meeting struct{ arrivals atomic.Int64 }

func (m *meeting) wait() {
	n := m.arrivals.Add(1)
	if n%2 == 0 {
		// The other has yet to learn of it: that takes a while, and differs.
		for range n % 256 {
			m.arrivals.Load()
		}
		return
	}
	for i := 1; m.arrivals.Load() == n; i++ {
		if i%10_000 == 0 {
			runtime.Gosched() // there may be one processor only
		}
	}
}

// clocks are ways in which epochs follow each other quickly.
var clocks = map[string]func(e *Engine){
	"coarse": func(e *Engine) { e.runTick() },
	"fine": func(e *Engine) {
		if !e.fine {
			e.switchToFine()
		}
		e.runTick()
	},
	"now this, now that": func(e *Engine) {
		if e.fine {
			e.wantCoarse.Store(true)
		} else {
			e.switchToFine()
		}
		e.runTick()
	},
}

// All renewals that are stamped with an epoch were before its recorded end: the end is
// read after the new stamp was published. Otherwise a renewal could be dated too early,
// and so would be its deadline.
func TestRule1AnEpochEndsAfterItsLastRenewal(t *testing.T) {
	for name, tick := range clocks {
		t.Run(name, func(t *testing.T) {
			// An engine made for many processors takes long to let all its leases know
			// of a new epoch: there is time to renew one in between.
			processors := runtime.GOMAXPROCS(128)
			e := &Engine{Tick: time.Microsecond}
			const timeout = time.Hour
			var leases [16]*Lease
			for i := range leases {
				leases[i] = e.unfiled(Sliding(timeout))
			}
			runtime.GOMAXPROCS(processors)

			var wg sync.WaitGroup
			var done atomic.Bool
			wg.Go(func() {
				defer done.Store(true)
				for i, start := 0, time.Now(); i < 5000 && time.Since(start) < 100*ms; i++ {
					tick(e)
				}
			})
			var renewed [len(leases)]time.Time // or a moment before
			for !done.Load() && !t.Failed() {
				for i, l := range leases {
					if early := renewed[i].Add(timeout).Sub(l.Deadline()); early > 0 && !renewed[i].IsZero() {
						t.Errorf("the deadline is %v too early", early)
					}
					renewed[i] = time.Now()
					l.Renew()
				}
			}
			wg.Wait()
		})
	}
}

// unfiled returns a lease that is not in the engine's wheel.
func (e *Engine) unfiled(p Policy) *Lease {
	e.once.Do(e.init)
	return &Lease{subject: &callback{policy: p}, shard: &e.shards[rand.IntN(len(e.shards))]}
}

// If two renewals race, the one with the older epoch does not overwrite the newer stamp.
func TestRule1RacingRenewalsNeverMoveAStampBack(t *testing.T) {
	l := new(Engine).unfiled(Sliding(time.Hour))
	epoch := uint32(0)
	race{
		before: func() { epoch += 2 },
		one:    func() { l.renewTo((epoch-1)<<stateBits | renewed) },
		other:  func() { l.renewTo(epoch<<stateBits | renewed) },
		after: func() bool {
			is := l.word.Load() >> stateBits
			if is != epoch {
				t.Errorf("after a renewal in epoch %d the stamp is that of %d", epoch, is)
			}
			return is == epoch
		},
	}.run(5000)
}

// A lease is released once. No renewal revives it, not even one that started before.
func TestRule7AReleaseIsFinal(t *testing.T) {
	for name, other := range map[string]func(*Lease) bool{"renewal": (*Lease).Renew, "release": (*Lease).Release} {
		t.Run(name, func(t *testing.T) {
			e := new(Engine)
			grant := func() *Lease { return e.Grant(Sliding(time.Hour), func(*Error) {}) }
			defer grant().Release() // the clock runs all the time
			var l *Lease
			race{
				before: func() { l = grant() },
				one:    func() { l.Release() },
				other:  func() { other(l) },
				after: func() bool {
					if l.Renew() {
						t.Error("a released lease was renewed")
					}
					if n := e.Stats().Live; n != 1 {
						t.Errorf("%d leases are live where there is one", n)
					}
					return !t.Failed()
				},
			}.run(5000)
		})
	}
}

// Only one of an expiry and a renewal, or a release, succeeds, however close they are.
func TestRule7OnlyOneWinsARaceWithAnExpiry(t *testing.T) {
	for name, save := range map[string]func(*Lease) bool{"renewal": (*Lease).Renew, "release": (*Lease).Release} {
		t.Run(name, func(t *testing.T) {
			e := new(Engine)
			moment := rendezvous{spins: 10_000_000}
			var expired atomic.Int32
			var list [2000]contender
			for i := range list {
				c := &list[i]
				c.moment = &moment
				c.policy = within(30 * ms) // one renewal ends the opening phase
				c.expire = func(*Error) { c.expired.Store(true); expired.Add(1) }
				c.lease = e.watch(c)
			}
			var last *contender
			for i, tries, saved := 1, 0, 0; saved+int(expired.Load()) < len(list); i++ {
				if i%10_000 == 0 {
					runtime.Gosched() // there may be one processor only
				}
				c := moment.of.Load()
				if c == last {
					continue
				}
				last = c
				c.seen.Store(true)
				for range tries % 256 { // so that now the one comes first, and now the other
					c.seen.Load()
				}
				tries++
				if c.saved = save(c.lease); c.saved {
					saved++
				}
			}
			both := 0
			for i := range list {
				c := &list[i]
				if c.saved && c.expired.Load() {
					both++
				}
				c.lease.Release()
			}
			if both > 0 {
				t.Errorf("%d leases expired after a %s that had reported success", both, name)
			}
		})
	}
}

// A contender is a subject that another goroutine renews or releases just before its
// expiry.
type contender struct {
	callback
	lease   *Lease
	moment  *rendezvous
	seen    atomic.Bool
	saved   bool
	expired atomic.Bool
}

// A rendezvous is where the goroutine that is about to expire a lease waits for the one
// that renews or releases it.
type rendezvous struct {
	of    atomic.Pointer[contender]
	spins int // the clock's: the other may have no processor
}

// Heard is the last call before the expiry.
func (c *contender) Heard() (ago time.Duration, sure, ok bool) {
	c.moment.of.Store(c)
	for !c.seen.Load() && c.moment.spins > 0 {
		c.moment.spins--
	}
	return 0, false, false
}

func (c *contender) Arrived() (time.Duration, bool) { return 0, false }

// A renewal or release during a judgement comes before the verdict, which is dropped.
func TestRule7AVerdictOnAChangedLeaseIsDropped(t *testing.T) {
	const timeout = 100 * ms
	for name, change := range map[string]func(*Lease) bool{"renewed": (*Lease).Renew, "released": (*Lease).Release} {
		for _, during := range []string{"policy", "heard"} {
			t.Run(name+" during "+during, func(t *testing.T) {
				bubble(t, func(t *testing.T, e *Engine) {
					lease := make(chan *Lease, 1)
					meddle := sync.OnceFunc(func() {
						if !change(<-lease) {
							t.Error("the lease has ended before the verdict")
						}
					})
					w := &watched{policy: Sliding(timeout)}
					if during == "policy" {
						w.policy = interferer{w.policy, meddle}
					} else {
						w.heard = func() (time.Duration, bool) { meddle(); return 0, false }
					}
					lease <- e.watch(w)
					granted := time.Now()
					sleepUntil(granted.Add(2*timeout - 1))
					if w.expired.Load() != nil {
						t.Errorf("expired, though it was %s before the verdict", name)
					}
					sleepUntil(granted.Add(2*timeout + 4*DefaultTick))
					if expired := w.expired.Load() != nil; expired != (name == "renewed") {
						t.Errorf("expired at last: %v", expired)
					}
					if n := e.Stats().Live; n != 0 {
						t.Errorf("%d leases are live at last", n)
					}
				})
			})
		}
	}
}

// An interferer is a policy that calls meddle when it finds a peer dead.
type interferer struct {
	Policy
	meddle func()
}

func (m interferer) Judge(e History) Verdict {
	v := m.Policy.Judge(e)
	if v.Dead {
		m.meddle()
	}
	return v
}

// A judgement that handles a stamp loses no later renewal of the same epoch, which does
// not change the word.
func TestRule1AJudgementLosesNoRenewal(t *testing.T) {
	for name, tick := range clocks {
		t.Run(name, func(t *testing.T) {
			e := &Engine{Tick: 10 * time.Microsecond}
			const timeout = time.Hour
			l := e.unfiled(Sliding(timeout))
			var wg sync.WaitGroup
			var done atomic.Bool
			wg.Go(func() {
				defer done.Store(true)
				for start := time.Now(); time.Since(start) < 100*ms; {
					tick(e)
					for range 10 {
						e.judge(l, e.now())
					}
				}
			})
			var renewed time.Time // or a moment before
			l.Renew()
			for !done.Load() && !t.Failed() {
				if early := renewed.Add(timeout).Sub(l.Deadline()); early > 0 && !renewed.IsZero() {
					t.Errorf("the deadline is %v too early", early)
				}
				renewed = time.Now()
				l.Renew()
			}
			wg.Wait()
		})
	}
}

// The clock may be delayed between dating a stamp and checking whether its epoch is over.
// It loses no renewal in between, in the same epoch, which does not change the word.
func TestRule1AnEpochThatEndsDuringAJudgementLosesNoRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fineEngine()
		e.running.Store(true) // by this test, which is the clock
		e.wake(e.now())
		w, other := &watched{policy: Sliding(sec)}, &watched{policy: Sliding(time.Hour)}
		l, lo := e.watch(w), e.watch(other)
		time.Sleep(108 * ms)
		l.Renew()
		time.Sleep(ms)
		var last time.Time
		w.arrived = func() (time.Duration, bool) { // holds it up
			time.Sleep(8 * ms)
			last = time.Now()
			l.Renew()
			time.Sleep(2 * ms)
			lo.Renew() // opens the next
			return 0, false
		}
		e.stall = stall{affectedFrom: 1, resumed: e.now(), length: sec} // so that Arrived is called
		e.judge(l, e.now())
		w.arrived, e.stall.length = nil, 0
		for w.expired.Load() == nil {
			time.Sleep(e.sleep())
			e.runTick()
			synctest.Wait()
		}
		if early := last.Add(sec).Sub(time.Unix(0, w.at.Load())); early > 0 {
			t.Errorf("early by %v", early)
		}
	})
}

// If the peer is heard again during the call of Heard, it stays open, even if Heard's
// answer is older.
func TestRule7ARenewalDuringHeardCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fineEngine()
		e.running.Store(true) // by this test, which is the clock
		start := time.Now()
		last := start
		w := &watched{policy: Sliding(sec)}
		l := e.watch(w)
		w.arrived = func() (time.Duration, bool) { return time.Since(last), true }
		renewed := false
		w.heard = func() (time.Duration, bool) { // something arrives right after that
			ago := time.Since(last)
			last = time.Now()
			renewed = l.Renew() || renewed
			return ago, true
		}
		time.Sleep(1005 * ms)
		l.Renew()
		e.stall = stall{affectedFrom: 1, resumed: e.now(), length: sec}
		e.judge(l, e.now())
		synctest.Wait()
		if !renewed || w.expired.Load() != nil {
			t.Errorf("Renew returned %v; then expired: %v", renewed, w.expired.Load() != nil)
		}
	})
}

// The ring of epochs' ends is reused. A goroutine that is delayed while it reads an end
// does not get another epoch's.
func TestAnEpochsEndIsNeverInTheFuture(t *testing.T) {
	e := new(Engine)
	e.once.Do(e.init)
	var wg sync.WaitGroup
	var done atomic.Bool
	wg.Go(func() {
		for !done.Load() {
			e.nextEpoch()
		}
	})
	for start := time.Now(); time.Since(start) < 100*ms; {
		if at := e.endOf(e.epoch.Load() & epochMask); at > e.now() {
			t.Errorf("it ends in %v", at-e.now())
			break
		}
	}
	done.Store(true)
	wg.Wait()
}

// A dialled connection may end before its beater starts. The beater then stops by itself.
func TestRule12ABeaterStartedAfterTheEndStops(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine) {
		here, there := net.Pipe()
		defer there.Close()
		sess := transport.Single(here)
		stream, err := sess.OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		d := &Client{Engine: e, Beat: sec}
		c := d.newConn(sess, stream)
		d.prepare(c, codec.Hello{})
		c.state.begin()
		c.state.end(ending{Error: Error{Reason: Silent}, abrupt: true})
		c.dialed.beat.start()
		defer c.dialed.beat.stop()
		if n := e.Stats().Live; n != 0 {
			t.Errorf("%d leases are live after the end", n)
		}
	})
}
