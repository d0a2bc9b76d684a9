package transporttest

import (
	"sync"
	"time"
)

// A signal tells all who wait of a change in what a mutex guards, and is
// itself guarded by it. Unlike a sync.Cond it can be waited for together with
// a context or a deadline. Its channel is made by whoever waits first, and so
// within that one's synctest bubble.
type signal struct{ c chan struct{} }

func (s *signal) broadcast() {
	if s.c != nil {
		close(s.c)
		s.c = nil
	}
}

// wait unlocks mu and locks it again after a change, or when done is closed or
// the deadline has passed; done may be nil, and the deadline zero.
func (s *signal) wait(mu *sync.Mutex, done <-chan struct{}, deadline time.Time) {
	if s.c == nil {
		s.c = make(chan struct{})
	}
	changed := s.c
	var due <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		due = timer.C
	}
	mu.Unlock()
	defer mu.Lock()
	select {
	case <-changed:
	case <-done:
	case <-due:
	}
}
