package bench

import (
	"context"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A watch is a Progress for tests: it notes what is done, and cuts it short.
type watch struct {
	mu     sync.Mutex
	what   []string // each once, in order
	steps  int
	last   float64 // the greatest fraction
	until  string  // ends the context when this is done, after so many steps of it
	after  int
	cancel context.CancelFunc
}

func (w *watch) Step(what string, done, total float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.what); n == 0 || w.what[n-1] != what {
		w.what = append(w.what, what)
	}
	w.last = max(w.last, done/total)
	if w.cancel != nil && what == w.until {
		if w.steps++; w.steps > w.after {
			w.cancel()
		}
	}
}
