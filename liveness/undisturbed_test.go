package liveness_test

import (
	"sync"
	"testing"
	"time"
)

// A pulse measures by how much a busy machine delayed a test in real time: the longest
// time between its beats.
type pulse struct {
	mu      sync.Mutex
	last    time.Time
	longest time.Duration
	resting bool
	spoilt  bool // it was disturbed in another way
}

// beat is called again and again from when the test begins to depend on not being
// delayed.
func (p *pulse) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if !p.last.IsZero() && !p.resting {
		p.longest = max(p.longest, now.Sub(p.last))
	}
	p.last = now
}

// rest is the last beat that matters.
func (p *pulse) rest() {
	p.beat()
	p.mu.Lock()
	p.resting = true
	p.mu.Unlock()
}

// disturbed marks a test as delayed although no beat was late.
func (p *pulse) disturbed() {
	p.mu.Lock()
	p.spoilt = true
	p.mu.Unlock()
}

// every beats from a goroutine of its own, for tests in which others do what must be in
// time.
func (p *pulse) every(d time.Duration) (stop func()) {
	var beating sync.WaitGroup
	quit := make(chan struct{})
	p.beat()
	beating.Go(func() {
		ticker := time.NewTicker(d)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				p.beat()
			case <-quit:
				return
			}
		}
	})
	return func() {
		p.rest()
		close(quit)
		beating.Wait()
	}
}

// undisturbed fails t if trial does. A trial that went for longer than bound without a
// beat is repeated, whatever it returns.
func undisturbed(t *testing.T, bound time.Duration, trial func(*pulse) error) {
	t.Helper()
	const trials = 20
	for range trials {
		p := new(pulse)
		err := trial(p)
		p.rest()
		if p.longest <= bound && !p.spoilt {
			if err != nil {
				t.Error(err)
			}
			return
		}
		t.Logf("held up for %v, or otherwise disturbed: that trial says nothing (%v)", p.longest, err)
	}
	t.Errorf("held up for more than %v in each of %d trials: nothing is known", bound, trials)
}
