package transporttest

import (
	"sync"
	"time"
)

// A signal is a condition variable that can be waited for together with a context or a
// deadline. It is guarded by the same mutex as the condition. The first wait makes the
// channel, so that it belongs to that goroutine's synctest bubble.
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
