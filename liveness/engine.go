package liveness

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultTick is the engine's tick where none is set.
const DefaultTick = 10 * time.Millisecond

// An Engine grants leases and expires those whose policy says that the peer is
// dead: never before the deadline, and at most two ticks after it plus
// scheduling. One engine serves any number of listeners. The zero value is
// ready; an engine must not be copied.
//
// An engine runs one goroutine while it holds leases, and none while it holds
// none, so it needs no closing. Expiries and probes run on a few goroutines
// more, which end when there are no more to run. One that blocks is replaced
// after two hundredths of a second, so that it holds up no other; beyond 10,000
// that block at once, the others wait.
type Engine struct {
	// Tick is the precision of the engine's clock; 0 means [DefaultTick]. It
	// must not change once a lease has been granted.
	Tick time.Duration

	once   sync.Once
	base   time.Time // the engine's clock counts from here
	step   time.Duration
	shards []shard

	epochs

	ranges    sync.Pool     // of *turn
	nextRange atomic.Uint32 // that were given to processors

	running atomic.Bool
	mu      sync.Mutex    // held to start or stop the clock
	wakeups chan struct{} // have the clock look up
	asleep  atomic.Int64  // the tick that the clock has fallen asleep for; 0: it hasn't

	// Owned by the clock's goroutine:
	woke      time.Duration // when it last woke
	due       time.Duration // when it is to wake next
	nextShard int           // the shard at which to go on
	toProbe   []*Lease      // that are to be probed
	stall     stall         // the latest

	expiries pool
	probes   pool
	stats    statistics
	logged   atomic.Int64 // when a blocked Events was logged last
}

// mayLog limits what is logged of callbacks that block to a line in ten seconds.
func (e *Engine) mayLog() bool {
	const every = 10 * time.Second
	now, last := int64(e.time()), e.logged.Load()
	return (last == 0 || now-last >= int64(every)) && e.logged.CompareAndSwap(last, now)
}

// defaultEngine serves every Config that names none.
var defaultEngine Engine

// A subject is what a lease watches over.
type subject interface {
	// Policy is the policy to judge by. It is asked for at every judgement.
	Policy() Policy

	// Heard is asked just before the subject would be judged dead: how long ago
	// was the peer last heard by a witness of which the lease knows nothing, the
	// kernel for instance? The answer may be too recent by the witness's
	// precision, never too old. Not ok: there is no witness. Not sure: the peer may
	// have been heard since, or would have been but for a stall of this process; such
	// a stall is then answered by waiting until what came meanwhile can have been
	// read.
	Heard() (ago time.Duration, sure, ok bool)

	// Arrived is asked of a peer that was heard just after a stall of this
	// process: how long ago did anything at all arrive from it last, as far as a
	// witness knows? What was heard may have lain unread, and is dated to then.
	// The answer may be too recent, never too old.
	Arrived() (ago time.Duration, ok bool)

	// Probe asks the peer for a sign of life. It must not block for long. False: it
	// could not be asked, and is not taken for asked by the policy.
	Probe() bool

	// Expire ends the subject. It is called once, unless the lease is released.
	Expire(expiry)
}

// An expiry is the engine's verdict on a lease.
type expiry struct {
	Reason   Reason
	Age      time.Duration // since the grant
	Silence  time.Duration // since the peer was last heard, or the grant
	Deadline time.Time     // the deadline that was missed
	Late     time.Duration // how long after it the verdict fell
}

// Grant grants a lease under p. When it expires, expire is called, once, from
// a goroutine of the engine.
func (e *Engine) Grant(p Policy, expire func(*Error)) *Lease {
	return e.watch(&callback{p, expire})
}

// callback is the subject of a bare lease.
type callback struct {
	policy Policy
	expire func(*Error)
}

func (c *callback) Policy() Policy                        { return c.policy }
func (c *callback) Heard() (ago time.Duration, _, _ bool) { return 0, false, false }
func (c *callback) Arrived() (time.Duration, bool)        { return 0, false }
func (c *callback) Probe() bool                           { return true }
func (c *callback) Expire(x expiry) {
	c.expire(&Error{Reason: x.Reason, Age: x.Age, Silence: x.Silence, Late: x.Late})
}

// Watch grants a lease on s, under its policy.
func (e *Engine) watch(s subject) *Lease {
	l := new(Lease)
	e.grant(l, s)
	return l
}

// grant grants l, which may lie within its subject.
func (e *Engine) grant(l *Lease, s subject) {
	e.once.Do(e.init)
	l.subject, l.shard = s, e.pick()
	// The lease counts before the clock is looked at, and the clock stops
	// before it looks at the count: one of the two sees the other.
	l.shard.granted.Add(1)
	if !e.running.Load() {
		e.start()
	}
	l.shard.grant(l)
}

// pick is the shard of a new lease. Each processor has some of the shards to
// itself, as a rule, and grants from them in turn: to write what another processor
// has written last costs as much as all the rest of a grant.
func (e *Engine) pick() *shard {
	t, _ := e.ranges.Get().(*shardRange) // a pool keeps apart what processors put
	if t == nil {
		t = &shardRange{first: e.nextRange.Add(1) * shardsEach}
	}
	t.next = (t.next + 1) % shardsEach
	s := &e.shards[(t.first+t.next)%uint32(len(e.shards))]
	e.ranges.Put(t)
	return s
}

// shardsEach is how many shards there are for each processor.
const shardsEach = 4

// A shardRange is a processor's: it grants from shardsEach shards, the first of which
// has a number.
type shardRange struct{ first, next uint32 }

func (e *Engine) init() {
	e.step = e.tick()
	e.base = time.Now().Add(-1) // the clock never reads 0, which stands for never
	n := 1
	for n < shardsEach*runtime.GOMAXPROCS(0) {
		n *= 2
	}
	e.shards = make([]shard, n)
	for i := range e.shards {
		e.shards[i].engine = e
		e.shards[i].seed = rand.Uint64()
	}
	e.publishEpoch(0)
}

// tick is the engine's tick, whether set or not.
func (e *Engine) tick() time.Duration {
	switch {
	case e.Tick < 0:
		panic("liveness: an Engine with a negative tick")
	case e.Tick == 0:
		return DefaultTick
	}
	return e.Tick
}

// now is the time on the engine's clock.
func (e *Engine) now() time.Duration { return time.Since(e.base) }

// time is now, though nothing may have been granted yet.
func (e *Engine) time() time.Duration {
	e.once.Do(e.init)
	return e.now()
}

// seedOf spreads the moments of grants over all numbers.
func (s *shard) seedOf(granted time.Duration) uint64 { return mix(uint64(granted) + s.seed) }

// mix scatters numbers that lie close together.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// A shard is a share of the leases, with a lock and a wheel of its own, so that
// granting and releasing scale with the processors.
type shard struct {
	stamp  atomic.Uint32 // the word of a lease renewed in the current epoch, or unknown
	engine *Engine
	seed   uint64
	_      [40]byte // renewals read the line above; locking must not disturb them

	mu    sync.Mutex
	wheel wheel

	last    atomic.Int64 // the moment of the latest grant
	granted atomic.Int64 // leases
	ended   atomic.Int64 // of these
	_       [64]byte     // before the next shard's first line
}

// live is how many leases are held now. One that is granted meanwhile may not be
// counted.
func (e *Engine) live() int64 {
	n := int64(0)
	for i := range e.shards {
		n += e.shards[i].live()
	}
	return n
}

// idle reports whether no lease is held. It does not look further than it must:
// there may be very many shards.
func (e *Engine) idle() bool {
	for i := range e.shards {
		if e.shards[i].live() != 0 {
			return false
		}
	}
	return true
}

// live is 0 only if there is none: of what is read later there is not less.
func (s *shard) live() int64 {
	ended := s.ended.Load()
	return s.granted.Load() - ended
}

// grant dates l and files it for its first judgement.
func (s *shard) grant(l *Lease) {
	l.granted = s.uniqueNow()
	v := l.subject.Policy().Judge(l.evidence(l.granted, 0, 0))
	s.mu.Lock()
	s.wheel.skip(int64(l.granted / s.engine.step))
	s.file(l, v.At)
	sooner := s.wheel.next < s.engine.asleep.Load()
	s.mu.Unlock()
	if sooner {
		s.engine.wakeClock()
	}
}

// uniqueNow is now, but never the same twice, so that the seeds of a shard's
// leases differ.
func (s *shard) uniqueNow() time.Duration {
	for {
		last := s.last.Load()
		now := max(int64(s.engine.now()), last+1)
		if s.last.CompareAndSwap(last, now) {
			return time.Duration(now)
		}
	}
}

// file files l for judgement at an age. The lock is held.
func (s *shard) file(l *Lease, at time.Duration) {
	s.wheel.file(l, tickOf(after(l.granted, at), s.engine.step))
}

// forget takes a lease that has just been released out of the wheel.
func (s *shard) forget(l *Lease) {
	s.mu.Lock()
	s.wheel.remove(l)
	s.mu.Unlock()
	s.ended.Add(1)
	if s.live() == 0 && s.engine.idle() {
		s.engine.wakeClock()
	}
}
