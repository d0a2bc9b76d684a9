package bench

import (
	"math/rand/v2"
	"time"

	"github.com/livenet/livenet/liveness"
)

// A keeper holds deadlines under a load, in one way or another. Most are of the
// lifetime and renewed in time. The doomed have a timeout of their own each and
// are renewed once at most.
type keeper interface {
	hold(i int)
	renew(i uint32)
	doom(i int, timeout time.Duration, passed func())
	renewDoomed(i int) bool // false: it was not
	end()
}

// idle holds nothing: it is the load alone.
type idle struct{}

func (idle) hold(int)                        {}
func (idle) renew(uint32)                    {}
func (idle) doom(int, time.Duration, func()) {}
func (idle) renewDoomed(int) bool            { return false }
func (idle) end()                            {}

// leases are the engine's.
type leases struct {
	engine liveness.Engine
	policy liveness.Policy
	held   []*liveness.Lease
	doomed []*liveness.Lease
}

// newLeases staggers the first judgements: see [Renew.stagger].
func newLeases(held, doomed int, stagger time.Duration) *leases {
	return &leases{
		policy: staggered{liveness.Sliding(lifetime), uint64(stagger)},
		held:   make([]*liveness.Lease, held),
		doomed: make([]*liveness.Lease, doomed),
	}
}

func (l *leases) hold(i int)     { l.held[i] = l.engine.Grant(l.policy, func(liveness.Expiry) {}) }
func (l *leases) renew(i uint32) { l.held[i].Renew() }

func (l *leases) doom(i int, timeout time.Duration, passed func()) {
	l.doomed[i] = l.engine.Grant(liveness.Sliding(timeout), func(liveness.Expiry) { passed() })
}

func (l *leases) renewDoomed(i int) bool { return l.doomed[i].Renew() }

func (l *leases) end() {
	for _, list := range [][]*liveness.Lease{l.held, l.doomed} {
		for _, lease := range list {
			if lease != nil {
				lease.Release()
			}
		}
	}
}

// staggered is a policy that first wants to judge at an age between 0 and span,
// another one for each lease, and is else as the policy beneath.
type staggered struct {
	liveness.Policy
	span uint64
}

func (s staggered) Judge(e liveness.Evidence) liveness.Verdict {
	if first := time.Duration(e.Seed % s.span); e.Heard == 0 && e.Age < first {
		return liveness.JudgeAgain(first)
	}
	return s.Policy.Judge(e)
}

// timers are one for each deadline, reset when the peer is heard.
type timers struct {
	stagger time.Duration
	held    []*time.Timer
	doomed  []*time.Timer
}

func newTimers(held, doomed int, stagger time.Duration) *timers {
	return &timers{stagger, make([]*time.Timer, held), make([]*time.Timer, doomed)}
}

// hold starts a timer and resets it at once. It stays where it is in the
// runtime's heap, to be sorted in anew when its first time has come.
func (t *timers) hold(i int) {
	t.held[i] = time.AfterFunc(rand.N(t.stagger), func() {})
	t.held[i].Reset(lifetime)
}

func (t *timers) renew(i uint32) { t.held[i].Reset(lifetime) }

func (t *timers) doom(i int, timeout time.Duration, passed func()) {
	t.doomed[i] = time.AfterFunc(timeout, passed)
}

// renewDoomed does nothing. At the time to which a timer has been reset, the
// runtime looks through all timers there are. Where timeouts are all alike that
// is once in a lifetime; to charge it to one window would not be fair.
func (t *timers) renewDoomed(int) bool { return false }

func (t *timers) end() {
	for _, list := range [][]*time.Timer{t.held, t.doomed} {
		for _, timer := range list {
			if timer != nil {
				timer.Stop()
			}
		}
	}
}
