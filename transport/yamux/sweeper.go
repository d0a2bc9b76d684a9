package yamux

import (
	"sync"
	"sync/atomic"
	"time"
)

// sweepAfter is how long what a session read by the way may lie about.
const sweepAfter = time.Second

// A sweeper has the buffers of a session's streams taken away when nothing is
// in them, since yamux keeps each at the size of the most that ever was. It
// does so a while after something was read, and not at once: a buffer for every
// frame would cost a busy stream two thirds of its throughput. While nothing is
// read it has no timer.
type sweeper struct {
	sweep func()

	due     atomic.Bool // there is a timer
	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
}

// later is called when something was read.
func (s *sweeper) later() {
	if s.due.Load() {
		return // nearly always, where it matters
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer == nil && !s.stopped {
		s.due.Store(true)
		s.timer = time.AfterFunc(sweepAfter, s.run)
	}
}

func (s *sweeper) run() {
	s.mu.Lock()
	s.timer = nil
	s.due.Store(false) // what is read from now on is for the next time
	s.mu.Unlock()
	s.sweep()
}

// stop is for the session's end, so that nothing holds what is left of it.
func (s *sweeper) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	if s.timer != nil {
		s.timer.Stop()
	}
}
