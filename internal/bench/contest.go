package bench

import (
	"context"
	"runtime"
	"slices"
	"time"
)

// A contender is one of several operations to be compared.
type contender struct {
	what Label
	do   func(n int) // n of them

	n      int       // of a batch
	nanos  []float64 // an operation's time, in each round
	allocs []float64
}

// rounds is how many times contenders take turns. On a machine that does other
// things, too, what is compared must have run at the same time, or nearly.
const rounds = 5

// contest lets each contender run for d in all, in turns. A round that ctx
// ended is not counted.
func contest(ctx context.Context, list []*contender, d time.Duration, c *course) {
	for round := range rounds {
		for i := range list {
			// Whoever comes after another finds its caches: not always the same.
			l := list[(i+round)%len(list)]
			c.begin(l.what.Text)
			if l.round(ctx, d/rounds, c); ctx.Err() != nil {
				return
			}
		}
	}
}

// batchTime is how long a batch takes: long enough that looking at the clock
// costs nothing, and short enough that nobody waits for an interruption.
const batchTime = 2 * time.Millisecond

func (l *contender) round(ctx context.Context, d time.Duration, c *course) {
	if l.n == 0 {
		l.calibrate(min(batchTime, d/4))
	}
	var total time.Duration
	n := 0
	before := mallocs()
	for total < d && ctx.Err() == nil {
		start := time.Now()
		l.do(l.n)
		took := time.Since(start)
		total += took
		n += l.n
		c.advance(took)
	}
	if ctx.Err() != nil {
		return
	}
	l.nanos = append(l.nanos, float64(total)/float64(n))
	// Whole ones: the odd allocation is somebody else's.
	l.allocs = append(l.allocs, float64((mallocs()-before)/uint64(n)))
}

// calibrate finds how many operations take that long.
func (l *contender) calibrate(d time.Duration) {
	for l.n = 1; ; l.n *= 2 {
		start := time.Now()
		if l.do(l.n); time.Since(start) >= d/2 {
			return
		}
	}
}

// result is the median of an operation's time, the worst round's, and the
// allocations; ok is false if there was no round.
func (l *contender) result() (nanos, worst, allocs float64, ok bool) {
	if len(l.nanos) == 0 {
		return 0, 0, 0, false
	}
	return Median(l.nanos), slices.Max(l.nanos), Median(l.allocs), true
}

func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}
