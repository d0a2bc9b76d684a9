package load

import (
	"context"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/livenet/livenet/liveness"
)

// The ways in which a server can be kept from running.
const (
	StarveStop   = "stop"       // it is stopped by SIGSTOP, and goes on after a while
	StarveCPU    = "cpu"        // another process runs busy loops on all cores
	StarveProcs  = "gomaxprocs" // Go may use one core, of which a busy goroutine takes its share
	StarveGC     = "gc"         // a goroutine allocates as fast as it can, and garbage is collected all the time
	StarveCgroup = "cgroup"     // a control group grants it 5 % of a CPU
	StarveTicks  = "ticks"      // it is stopped in every third tick of its engine's clock
)

// Starvations are all of them.
var Starvations = []string{StarveStop, StarveCPU, StarveProcs, StarveGC, StarveCgroup, StarveTicks}

// A starvation is what keeps a process from running, at its own end.
type starvation struct {
	cancel context.CancelFunc // nil: there is none
	busy   sync.WaitGroup
	undo   func() // may be nil
}

// begin ends what there is, and begins what the order says.
func (s *starvation) begin(o starveOrder, e *liveness.Engine) {
	s.end()
	if o.Kind == "" {
		return
	}
	// Should nobody end it, it ends by itself.
	ctx, cancel := context.WithTimeout(context.Background(), o.For)
	s.cancel = cancel
	switch o.Kind {
	case StarveCPU:
		for range runtime.NumCPU() {
			s.busy.Go(func() { spin(ctx) })
		}
	case StarveProcs:
		before := runtime.GOMAXPROCS(1)
		s.undo = func() { runtime.GOMAXPROCS(before) }
		s.busy.Go(func() { spin(ctx) })
	case StarveGC:
		before := debug.SetGCPercent(hardGC)
		s.undo = func() { debug.SetGCPercent(before) }
		s.busy.Go(func() { litter(ctx) })
	case StarveTicks:
		l := e.Grant(&stopping{ctx: ctx}, func(liveness.Expiry) {})
		s.undo = func() { l.Release() }
	}
}

func (s *starvation) end() {
	if s.cancel == nil {
		return
	}
	s.cancel()
	s.busy.Wait()
	if s.undo != nil {
		s.undo()
	}
	s.cancel, s.undo = nil, nil
}

// spin is a busy loop.
func spin(ctx context.Context) {
	for ctx.Err() == nil {
	}
}

const (
	hardGC     = 5 // per cent that the heap may grow between two collections
	litterSize = 4 << 10
	litterKept = 8 << 10 // pieces, so that there is something to mark
)

// litter allocates.
func litter(ctx context.Context) {
	kept := make([]*[litterSize / 8]*byte, litterKept)
	for i := 0; ctx.Err() == nil; i++ {
		kept[i%litterKept] = new([litterSize / 8]*byte)
	}
	runtime.KeepAlive(kept)
}

// every is how often the process is stopped: in each third tick.
const every = 3

// A stopping policy stops the process in the middle of the clock's work. Who
// ordered that lets it go on.
type stopping struct {
	ctx   context.Context
	ticks int
}

func (s *stopping) Judge(e liveness.Evidence) liveness.Verdict {
	if s.ctx.Err() == nil && e.Age > 0 {
		if s.ticks++; s.ticks%every == 0 {
			stopSelf()
		}
	}
	return liveness.JudgeAgain(e.Age + 1) // in the next tick
}

// A burner is the role of a worker that takes processor time from the others.
type burner struct{ starvation }

func (b *burner) starve(o starveOrder)      { b.begin(o, nil) }
func (b *burner) connect(connectOrder)      {}
func (b *burner) watch(bool)                {}
func (b *burner) report(reportOrder, *note) {}
