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

// What happens at one instant has an order, and these tests make it happen at
// one instant. Where the engine calls others' code in between, that code does
// it. Where it calls none, there are many tries.

// A race is two calls that are made at the same instant, again and again.
type race struct {
	before     func()
	one, other func()
	after      func() bool // false: that's enough
}

// run runs the race n times, or fewer if that takes long: when there is no
// processor for each of the two, more tries do not help.
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

// A meeting is where two goroutines wait for each other, awake, so that they
// leave it together.
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

// clocks are ways in which epochs follow each other, in a hurry.
var clocks = map[string]func(e *Engine){
	"crowd": func(e *Engine) { e.runTick() },
	"calm": func(e *Engine) {
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

// Whatever is stamped with an epoch was heard before the end that is recorded
// for it: the clock is read when nobody can stamp with it any more. Were it
// read sooner, a renewal in between would be dated to before it happened, and
// so would the deadline.
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

// unfiled is a lease of which the engine's own clock does not know.
func (e *Engine) unfiled(p Policy) *Lease {
	e.once.Do(e.init)
	return &Lease{subject: &callback{policy: p}, shard: &e.shards[rand.IntN(len(e.shards))]}
}

// Of two renewals that race, the one that comes late with an older epoch leaves
// the newer stamp alone.
func TestRule1RenewalsThatRaceNeverMoveAStampBack(t *testing.T) {
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

// A lease is released once, and nothing brings it back: not even a renewal that
// has begun before.
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

// However close an expiry comes to a renewal, or to a release, only one of them
// happens.
func TestRule7OneOfThoseThatRaceWithAnExpiryWins(t *testing.T) {
	for name, save := range map[string]func(*Lease) bool{"renewal": (*Lease).Renew, "release": (*Lease).Release} {
		t.Run(name, func(t *testing.T) {
			e := new(Engine)
			moment := lastMoment{patience: 10_000_000}
			var expired atomic.Int32
			var list [2000]contested
			for i := range list {
				c := &list[i]
				c.moment = &moment
				c.policy = Within(30 * ms) // whoever is heard once lives for ever
				c.expire = func(*Error) { c.expired.Store(true); expired.Add(1) }
				c.lease = e.watch(c)
			}
			var last *contested
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
				t.Errorf("%d leases expired after a %s that was told it came in time", both, name)
			}
		})
	}
}

// contested is a subject that another goroutine tries to save in the last moment
// before its expiry.
type contested struct {
	callback
	lease   *Lease
	moment  *lastMoment
	seen    atomic.Bool
	saved   bool
	expired atomic.Bool
}

// lastMoment is where one who is about to expire waits for the one who saves.
type lastMoment struct {
	of       atomic.Pointer[contested]
	patience int // the clock's: the other may have no processor
}

// Heard is the last that is asked before the expiry.
func (c *contested) Heard() (ago time.Duration, sure, ok bool) {
	c.moment.of.Store(c)
	for !c.seen.Load() && c.moment.patience > 0 {
		c.moment.patience--
	}
	return 0, false, false
}

func (c *contested) Arrived() (time.Duration, bool) { return 0, false }

// What happens in the middle of a judgement comes before the verdict, which is
// void then.
func TestRule7AVerdictIsVoidOnceTheLeaseHasChanged(t *testing.T) {
	const timeout = 100 * ms
	for name, change := range map[string]func(*Lease) bool{"renewed": (*Lease).Renew, "released": (*Lease).Release} {
		for _, during := range []string{"policy", "witness"} {
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
						w.policy = meddling{w.policy, meddle}
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

// meddling is a policy that calls meddle when it finds a peer dead.
type meddling struct {
	Policy
	meddle func()
}

func (m meddling) Judge(e Evidence) Verdict {
	v := m.Policy.Judge(e)
	if v.Dead {
		m.meddle()
	}
	return v
}

// A judgement that deals with a stamp takes no later renewal with it: one that
// finds its epoch's stamp in place leaves no other trace.
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

// The clock may be held up between dating a stamp and looking whether its epoch
// is over. Who renews in between, in the same epoch, leaves no other trace than
// that stamp.
func TestRule1AnEpochThatEndsDuringAJudgementLosesNoRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := calm()
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
		e.stall = stall{affectedFrom: 1, resumed: e.now(), length: sec} // so that the witness is asked
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

// A witness that dates a renewal back does not make it one that never was: if
// the peer is heard again while it testifies, it lives.
func TestRule7ARenewalDuringTheTestimonyCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := calm()
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
			t.Errorf("told that it had renewed: %v; then expired: %v", renewed, w.expired.Load() != nil)
		}
	})
}

// An epoch's number says where its end stands, for so long: who is held up while
// he looks it up does not find another's.
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

// A dialled connection may be judged before it has begun to beat. Then its beats,
// which begin all the same, have nobody to end them but themselves.
func TestRule12BeatsThatBeginAfterTheEndEnd(t *testing.T) {
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
