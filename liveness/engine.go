package liveness

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultTick is the tick of an engine that sets none.
const DefaultTick = 10 * time.Millisecond

// An Engine grants leases and expires them when their policy says that the peer is dead:
// never before the deadline, and at most two ticks after it plus scheduling delay, and after a
// stall of this process later: see docs/design.md. One engine
// serves any number of listeners. The zero value is ready for use; an Engine must not be
// copied.
//
// An engine runs one goroutine while it holds leases, so it needs no Close. Expiries and
// probes run on up to 32 goroutines each, which end when there is nothing to do. A goroutine
// that blocks for 20 ms is replaced, so that it delays no other expiry; at most 10,000 are
// replaced at a time.
type Engine struct {
	// Tick is the precision of the engine's clock; 0 means [DefaultTick]. It must not be
	// changed after the first grant.
	Tick time.Duration

	once   sync.Once
	base   time.Time // the zero of the engine's clock
	step   time.Duration
	shards []shard

	epochs

	ranges    sync.Pool     // of *shardRange
	nextRange atomic.Uint32 // number of ranges made

	running atomic.Bool
	mu      sync.Mutex    // held to start or stop the clock
	wakeups chan struct{} // wakes the clock
	asleep  atomic.Int64  // the tick until which the clock sleeps; 0: it is awake

	// Owned by the clock's goroutine:
	woke      time.Duration // when it last woke
	due       time.Duration // when it should wake next
	nextShard int           // where the sweep continues
	toProbe   []*Lease      // probed after the current batch
	stall     stall         // the latest

	expiries pool
	probes   pool
	stats    statistics
	logged   atomic.Int64 // when a blocked Events was last logged
}

// mayLog limits the log of callbacks that block to one line in 10 s.
func (e *Engine) mayLog() bool {
	const every = 10 * time.Second
	now, last := int64(e.time()), e.logged.Load()
	return (last == 0 || now-last >= int64(every)) && e.logged.CompareAndSwap(last, now)
}

// defaultEngine is the engine of every Config that sets none.
var defaultEngine Engine

// A subject is what a lease judges, such as a connection.
type subject interface {
	// Policy returns the policy. It is called at every judgement.
	Policy() Policy

	// Heard returns how long ago the peer was last heard by means other than Renew, such
	// as TCP_INFO. It is called before the lease expires. The result may be too recent by
	// the precision of the kernel's clock, never too old. It is not ok if there are no such
	// means, and not sure if the peer may have been heard since, or if a stall of this
	// process may have kept it from being heard: then a grace period follows a stall.
	Heard() (ago time.Duration, sure, ok bool)

	// Arrived returns how long ago anything last arrived from the peer. It is called when
	// the lease was renewed just after a stall, to date input that was read late. The
	// result may be too recent, never too old.
	Arrived() (ago time.Duration, ok bool)

	// Probe carries out the policy's probe: it pings the peer, or samples its transport.
	// It must not block for long. It returns false if the probe was not possible, and so
	// does not count.
	Probe() bool

	// Expire ends the subject. It is called at most once, and not after Release.
	Expire(expiry)
}

// An expiry is the engine's verdict on a lease.
type expiry struct {
	Reason   Reason
	Age      time.Duration // since the grant
	Silence  time.Duration // since the peer was last heard, or the grant
	Deadline time.Time     // the deadline that has passed
	Late     time.Duration // from the deadline to the verdict
}

// Grant returns a new lease under p. When it expires, expire is called once, on a goroutine
// of the engine; not after [Lease.Release]. Grant panics if e.Tick is negative.
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

// watch grants a new lease on s.
func (e *Engine) watch(s subject) *Lease {
	l := new(Lease)
	e.grant(l, s)
	return l
}

// grant grants l, which may be a field of s.
func (e *Engine) grant(l *Lease, s subject) {
	e.once.Do(e.init)
	l.subject, l.shard = s, e.pick()
	// Count the lease, then look at the clock. The clock stops, then looks at the count. So
	// at least one of the two sees the other.
	l.shard.granted.Add(1)
	if !e.running.Load() {
		e.start()
	}
	l.shard.grant(l)
}

// pick returns the shard of a new lease. Each processor grants from its own shards in turn:
// writing a cache line that another processor wrote last costs as much as the rest of a grant.
func (e *Engine) pick() *shard {
	t, _ := e.ranges.Get().(*shardRange) // a sync.Pool is per processor
	if t == nil {
		t = &shardRange{first: e.nextRange.Add(1) * shardsEach}
	}
	t.next = (t.next + 1) % shardsEach
	s := &e.shards[(t.first+t.next)%uint32(len(e.shards))]
	e.ranges.Put(t)
	return s
}

// shardsEach is the number of shards of each processor.
const shardsEach = 4

// A shardRange is the range of a processor's shards.
type shardRange struct{ first, next uint32 }

func (e *Engine) init() {
	e.step = e.tick()
	e.base = time.Now().Add(-1) // the clock never reads 0, which means never
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

// tick returns Tick or its default.
func (e *Engine) tick() time.Duration {
	switch {
	case e.Tick < 0:
		panic("liveness: an Engine with a negative tick")
	case e.Tick == 0:
		return DefaultTick
	}
	return e.Tick
}

// now returns the time on the engine's clock.
func (e *Engine) now() time.Duration { return time.Since(e.base) }

// time is now for an engine that may not be initialized.
func (e *Engine) time() time.Duration {
	e.once.Do(e.init)
	return e.now()
}

// seedOf derives a lease's seed from the time of its grant.
func (s *shard) seedOf(granted time.Duration) uint64 { return mix(uint64(granted) + s.seed) }

// mix hashes a number, so that close ones get unrelated results (splitmix64).
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// A shard holds a part of the leases, with its own lock and wheel, so that grants and releases
// scale with the processors.
type shard struct {
	stamp  atomic.Uint32 // the word of a lease that is renewed in the current epoch, or unknown
	engine *Engine
	seed   uint64
	_      [40]byte // renewals read the cache line above; the lock below must not share it

	mu    sync.Mutex
	wheel wheel

	last    atomic.Int64 // the time of the latest grant
	granted atomic.Int64 // number of leases
	ended   atomic.Int64 // how many of them have ended
	_       [64]byte     // keeps the next shard off this cache line
}

// live returns the number of leases. One that is being granted may not be counted.
func (e *Engine) live() int64 {
	n := int64(0)
	for i := range e.shards {
		n += e.shards[i].live()
	}
	return n
}

// idle reports whether no lease is held.
func (e *Engine) idle() bool {
	for i := range e.shards {
		if e.shards[i].live() != 0 {
			return false
		}
	}
	return true
}

// live returns the number of the shard's leases. It is never too low: ended is read first.
func (s *shard) live() int64 {
	ended := s.ended.Load()
	return s.granted.Load() - ended
}

// grant sets the time of the grant and files l for its first judgement.
func (s *shard) grant(l *Lease) {
	l.granted = s.uniqueNow()
	v := l.subject.Policy().Judge(l.history(l.granted, 0, 0))
	s.mu.Lock()
	s.wheel.skip(int64(l.granted / s.engine.step))
	s.file(l, v.At)
	sooner := s.wheel.next < s.engine.asleep.Load()
	s.mu.Unlock()
	if sooner {
		s.engine.wakeClock()
	}
}

// uniqueNow returns the time, but never the same twice, so that the seeds of a shard's leases
// differ.
func (s *shard) uniqueNow() time.Duration {
	for {
		last := s.last.Load()
		now := max(int64(s.engine.now()), last+1)
		if s.last.CompareAndSwap(last, now) {
			return time.Duration(now)
		}
	}
}

// file files l for judgement at age at. The lock is held.
func (s *shard) file(l *Lease, at time.Duration) {
	s.wheel.file(l, tickOf(after(l.granted, at), s.engine.step))
}

// forget removes a released lease from the wheel.
func (s *shard) forget(l *Lease) {
	s.mu.Lock()
	s.wheel.remove(l)
	s.mu.Unlock()
	s.ended.Add(1)
	if s.live() == 0 && s.engine.idle() {
		s.engine.wakeClock()
	}
}
