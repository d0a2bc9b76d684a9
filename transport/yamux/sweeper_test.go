package yamux

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestSweeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sweeps atomic.Int32
		s := &sweeper{sweep: func() { sweeps.Add(1) }}
		is := func(when string, want int32) {
			t.Helper()
			synctest.Wait()
			if got := sweeps.Load(); got != want {
				t.Errorf("%s: %d sweeps, want %d", when, got, want)
			}
		}
		s.later()
		time.Sleep(sweepAfter - 1)
		s.later()
		is("before it is time", 0)
		time.Sleep(time.Nanosecond)
		is("when it is", 1)
		time.Sleep(time.Hour)
		is("while nothing is read", 1)
		s.later()
		time.Sleep(sweepAfter)
		is("when something was again", 2)
		s.later()
		s.stop()
		s.later()
		time.Sleep(time.Hour)
		is("after the end", 2)
	})
}
