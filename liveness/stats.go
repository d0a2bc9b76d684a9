package liveness

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Stats are an engine's figures since the first grant.
type Stats struct {
	Live    int64 // leases held now
	Granted int64 // in all
	Expired int64 // in all
	Stalls  int64 // how often this process did not run for several ticks
	Blocked int64 // expiries and probes that block now, and have been replaced; see [Engine]

	// Late is a histogram of the times from deadline to verdict. Late[0] counts those below
	// 1 µs, and Late[i] those from 2^(i-1) to below 2^i µs. The last one also counts all
	// longer ones.
	Late    [24]int64
	LateMax time.Duration // the longest of these times
}

// Stats returns the engine's figures.
func (e *Engine) Stats() Stats {
	e.once.Do(e.init)
	s := Stats{
		Live:    e.live(),
		Stalls:  e.stats.stalls.Load(),
		Blocked: e.expiries.blockedCount() + e.probes.blockedCount(),
		LateMax: time.Duration(e.stats.lateMax.Load()),
	}
	for i := range e.shards {
		s.Granted += e.shards[i].granted.Load()
	}
	for i := range s.Late {
		s.Late[i] = e.stats.late[i].Load()
		s.Expired += s.Late[i]
	}
	return s
}

type statistics struct {
	stalls  atomic.Int64
	stalled atomic.Int64 // nanoseconds, all stalls together
	late    [24]atomic.Int64
	lateMax atomic.Int64 // written by the clock only
}

func (s *statistics) expired(late time.Duration) {
	i := bits.Len64(uint64(late / time.Microsecond))
	s.late[min(i, len(s.late)-1)].Add(1)
	if int64(late) > s.lateMax.Load() {
		s.lateMax.Store(int64(late))
	}
}
