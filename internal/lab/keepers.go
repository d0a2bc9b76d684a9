package main

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/RussellLuo/timingwheel"

	"github.com/livenet/livenet/liveness"
)

// A keeper is an implementation of many deadlines that move. Its methods are called from one
// goroutine. They take whole batches, so that calls through the interface don't matter.
type keeper interface {
	// grow grants entries until there are n, each for the timeout.
	grow(n int)

	// renew renews the entries of these numbers, for the timeout.
	renew(order []uint32)

	// fuse grants one entry more, for d, that calls expire when it expires. The
	// function that it returns renews it. Unlike the other methods it may be
	// called from another goroutine.
	fuse(d time.Duration, expire func()) (renew func(), err error)

	close()
}

// A way is how a kind of keeper is made.
type way struct {
	name  string
	ours  bool
	conns bool // each entry takes a connection, so that there can't be many
	note  string
	open  func(s renewSettings) (keeper, error)
}

// weighed reports whether entries take memory that can be told from the rest:
// that of a connection is in its poll descriptor, and not on the heap.
func (w way) weighed() bool { return w.name != bareLoop && !w.conns }

// bareLoop is the keeper without deadlines: it measures the loop itself.
const bareLoop = "the bare loop"

var ways = []way{
	{name: bareLoop, note: "the load's own cost", open: openNothing},
	{name: "Lease.Renew", ours: true, note: "tick 10 ms, the default", open: openLeases(liveness.DefaultTick)},
	{name: "Lease.Renew, tick 1 ms", ours: true, note: "tick 1 ms", open: openLeases(time.Millisecond)},
	{name: "time.Timer.Reset", note: "one timer for each entry", open: openTimers},
	{name: "time.AfterFunc anew", note: "Stop, and another AfterFunc", open: openAfterFuncs},
	{name: "RussellLuo/timingwheel", note: "Stop, and another AfterFunc; tick 1 ms, 20 slots, as its README has it", open: openWheel},
	{name: "net.Conn.SetReadDeadline", note: "over TCP connections on loopback", conns: true, open: openConns},
}

// nothing is a keeper without deadlines.
type nothing struct{ sum uint32 }

func openNothing(renewSettings) (keeper, error) { return new(nothing), nil }

func (*nothing) grow(int) {}
func (*nothing) close()   {}

func (k *nothing) renew(order []uint32) {
	for _, i := range order {
		k.sum += i
	}
}

func (*nothing) fuse(time.Duration, func()) (func(), error) {
	return nil, errors.ErrUnsupported
}

// leases are livenet's leases.
type leases struct {
	engine *liveness.Engine
	policy liveness.Policy
	leases []*liveness.Lease
}

func openLeases(tick time.Duration) func(renewSettings) (keeper, error) {
	return func(s renewSettings) (keeper, error) {
		k := &leases{
			engine: &liveness.Engine{Tick: tick},
			policy: liveness.Sliding(s.Timeout),
			leases: make([]*liveness.Lease, 0, s.Entries),
		}
		return k, nil
	}
}

func (k *leases) grow(n int) {
	for i := len(k.leases); i < n; i++ {
		k.leases = append(k.leases, k.engine.Grant(k.policy, func(*liveness.Error) {}))
	}
}

func (k *leases) renew(order []uint32) {
	for _, i := range order {
		k.leases[i].Renew()
	}
}

func (k *leases) fuse(d time.Duration, expire func()) (func(), error) {
	l := k.engine.Grant(liveness.Sliding(d), func(*liveness.Error) { expire() })
	return func() { l.Renew() }, nil
}

// stall holds the engine's clock up for a tenth of d, eight times in 2.4 d, or until
// the function that it returns is called.
func (k *leases) stall(d time.Duration) (end func()) {
	var list []*liveness.Lease
	for i := range 8 {
		p := &sleepyPolicy{at: time.Duration(i+1) * 3 * d / 10, sleep: d / 10}
		list = append(list, k.engine.Grant(p, func(*liveness.Error) {}))
	}
	return func() {
		for _, l := range list {
			l.Release()
		}
	}
}

// A sleepyPolicy sleeps, at an age, in the middle of the clock's work.
type sleepyPolicy struct {
	at, sleep time.Duration
	once      sync.Once
}

func (p *sleepyPolicy) Judge(e liveness.History) liveness.Verdict {
	if e.Age < p.at {
		return liveness.Verdict{At: p.at}
	}
	p.once.Do(func() { time.Sleep(p.sleep) })
	return liveness.Verdict{Dead: true, Reason: liveness.FixedDeadline, At: p.at}
}

func (k *leases) close() {
	for _, l := range k.leases {
		l.Release()
	}
}

// record stands for the caller's record of a connection.
type record struct{ expired atomic.Bool }

func (r *record) expire() { r.expired.Store(true) }

// stopper is what the timers of packages have in common.
type stopper interface{ Stop() bool }

// timers has a timer for each entry. The callbacks are made once, unlike in most programs that
// make new timers.
type timers[T stopper] struct {
	timeout   time.Duration
	start     func(time.Duration, func()) T
	again     func(T, time.Duration, func()) T // what a renewal is
	shut      func()
	records   []record
	callbacks []func()
	timers    []T
}

func newTimers[T stopper](s renewSettings, start func(time.Duration, func()) T) *timers[T] {
	return &timers[T]{
		timeout: s.Timeout, start: start, shut: func() {}, timers: make([]T, 0, s.Entries),
		records: make([]record, s.Entries), callbacks: make([]func(), s.Entries),
		again: func(t T, d time.Duration, f func()) T {
			t.Stop()
			return start(d, f)
		},
	}
}

func openTimers(s renewSettings) (keeper, error) {
	k := newTimers(s, time.AfterFunc)
	k.again = func(t *time.Timer, d time.Duration, _ func()) *time.Timer {
		t.Reset(d)
		return t
	}
	return k, nil
}

func openAfterFuncs(s renewSettings) (keeper, error) { return newTimers(s, time.AfterFunc), nil }

func openWheel(s renewSettings) (keeper, error) {
	wheel := timingwheel.NewTimingWheel(time.Millisecond, 20)
	wheel.Start()
	k := newTimers(s, wheel.AfterFunc)
	k.shut = wheel.Stop
	return k, nil
}

func (k *timers[T]) grow(n int) {
	for i := len(k.timers); i < n; i++ {
		k.callbacks[i] = k.records[i].expire
		k.timers = append(k.timers, k.start(k.timeout, k.callbacks[i]))
	}
}

func (k *timers[T]) renew(order []uint32) {
	for _, i := range order {
		k.timers[i] = k.again(k.timers[i], k.timeout, k.callbacks[i])
	}
}

func (k *timers[T]) fuse(d time.Duration, expire func()) (func(), error) {
	t := k.start(d, expire)
	return func() { t = k.again(t, d, expire) }, nil
}

func (k *timers[T]) close() {
	for _, t := range k.timers {
		t.Stop()
	}
	k.shut()
}

// conns are connections with read deadlines: half of them for the load, and
// half for the expiries, where a goroutine waits in Read on each.
type conns struct {
	timeout time.Duration
	conns   []net.Conn
	ends    []net.Conn // the other ends
	granted int
	spare   int // the next one for fuse
}

func openConns(s renewSettings) (keeper, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	k := &conns{timeout: s.Timeout, spare: s.Conns}
	for range 2 * s.Conns {
		near, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			k.close()
			return nil, err
		}
		k.conns = append(k.conns, near)
		far, err := l.Accept()
		if err != nil {
			k.close()
			return nil, err
		}
		k.ends = append(k.ends, far)
	}
	return k, nil
}

func (k *conns) grow(n int) {
	for _, c := range k.conns[k.granted:n] {
		c.SetReadDeadline(time.Now().Add(k.timeout))
	}
	k.granted = n
}

func (k *conns) renew(order []uint32) {
	for _, i := range order {
		k.conns[i].SetReadDeadline(time.Now().Add(k.timeout))
	}
}

func (k *conns) fuse(d time.Duration, expire func()) (func(), error) {
	if k.spare == len(k.conns) {
		return nil, errors.New("no connection left to expire")
	}
	c := k.conns[k.spare]
	k.spare++
	c.SetReadDeadline(time.Now().Add(d))
	go func() {
		if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			expire()
		}
	}()
	return func() { c.SetReadDeadline(time.Now().Add(d)) }, nil
}

// close resets the connections: thousands that wait out the end of TCP would
// take the next run's ports.
func (k *conns) close() {
	for _, c := range k.conns {
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
	for _, c := range k.ends {
		c.Close()
	}
}
