package liveness

import "sync/atomic"

// stages are how far a life's ending has come, for those who wait for it. It is
// much smaller than a lock for each, while nobody waits.
type stages struct {
	reached atomic.Uint32
	waited  atomic.Pointer[stageSignals]
}

const (
	isShut = 1 + iota // its holder is shut
	isTold            // and that has been told
)

// stageSignals are closed as the stages are reached.
type stageSignals [isTold]chan struct{}

// reach says that a stage is reached. It is called once for each, in order.
func (s *stages) reach(stage uint32) {
	s.reached.Store(stage)
	// Whoever waits stores the signals before it looks at what is reached.
	if w := s.waited.Load(); w != nil {
		close(w[stage-1])
	}
}

// wait waits until a stage is reached.
func (s *stages) wait(stage uint32) {
	if s.reached.Load() >= stage {
		return
	}
	w := s.waited.Load()
	if w == nil {
		w = &stageSignals{make(chan struct{}), make(chan struct{})}
		if !s.waited.CompareAndSwap(nil, w) {
			w = s.waited.Load()
		}
	}
	if s.reached.Load() < stage {
		<-w[stage-1]
	}
}
