package load

import (
	"io"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livenet/livenet/internal/eventlog"
	"github.com/livenet/livenet/liveness"
)

// ends are what a server is told of the ends of sessions, and what becomes of
// its memory meanwhile.
type ends struct {
	slow  time.Duration // it takes its time over each
	log   *eventlog.Log // as a server's would be, to nobody
	lines lineCounter
	newest,
	marked atomic.Uint64 // sessions, by their numbers

	mu     sync.Mutex
	told   []time.Time     // of those that were marked
	known  map[uint64]bool // and which they are
	again  int
	closed time.Duration
	base   int64
	peak   atomic.Int64
}

const (
	logRate  = 100 // lines a second
	heapLook = 10 * time.Millisecond
	fastSpan = 100 * time.Millisecond // in which ends are counted for the fastest
)

func newEnds(slow time.Duration) *ends {
	s := &ends{slow: slow, known: make(map[uint64]bool)}
	s.log = eventlog.New(&s.lines, eventlog.Options{Format: eventlog.JSON, Rate: logRate})
	return s
}

// event is told by whoever made it happen.
func (s *ends) event(e liveness.Event) {
	s.log.Event(e)
	switch {
	case e.Kind != liveness.KindSession:
	case e.What == liveness.Opened:
		for {
			newest := s.newest.Load()
			if e.ID <= newest || s.newest.CompareAndSwap(newest, e.ID) {
				break
			}
		}
	case e.What == liveness.Closed && e.ID <= s.marked.Load():
		if s.slow > 0 {
			time.Sleep(s.slow)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.known[e.ID] {
			s.again++
			return
		}
		s.known[e.ID] = true
		s.told = append(s.told, time.Now())
		s.closed = max(s.closed, e.Late)
	}
}

// mark has the sessions that there are be those that are minded.
func (s *ends) mark() {
	tidy()
	s.base = heapNow()
	s.peak.Store(s.base)
	s.marked.Store(s.newest.Load())
	go func() { // until the process ends
		for range time.Tick(heapLook) {
			s.peak.Store(max(s.peak.Load(), heapNow()))
		}
	}()
}

func heapNow() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

func (s *ends) read(e *liveness.Engine) *endings {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := &endings{
		Told: len(s.told), Again: s.again, Late: e.Stats().LateMax, Closed: s.closed,
		Base: s.base, Peak: s.peak.Load(), Lines: int(s.lines.n.Load()),
	}
	if v.Told == 0 {
		return v
	}
	v.First, v.Last = s.told[0].UnixNano(), s.told[v.Told-1].UnixNano()
	v.Fastest = fastest(s.told, fastSpan)
	return v
}

// fastest is the most of times, which are in order, that lie within d.
func fastest(times []time.Time, d time.Duration) int {
	most, first := 0, 0
	for i, t := range times {
		for t.Sub(times[first]) >= d {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// A lineCounter counts the lines that are written to it, one by one.
type lineCounter struct{ n atomic.Int64 }

func (c *lineCounter) Write(p []byte) (int, error) {
	c.n.Add(1)
	return io.Discard.Write(p)
}
