package liveness

import (
	"maps"
	"sync"
)

// Counts are the sessions, or the streams, of one listener since it began. At
// every reading Accepted is Live plus the sum of Closed.
type Counts struct {
	Accepted uint64
	Live     uint64
	Closed   map[Reason]uint64
}

// ledger keeps counts. Its lock makes each reading consistent.
type ledger struct {
	mu     sync.Mutex
	counts Counts
}

func (l *ledger) opened() {
	l.mu.Lock()
	l.counts.Accepted++
	l.counts.Live++
	l.mu.Unlock()
}

func (l *ledger) closed(r Reason) {
	l.mu.Lock()
	if l.counts.Closed == nil {
		l.counts.Closed = make(map[Reason]uint64)
	}
	l.counts.Live--
	l.counts.Closed[r]++
	l.mu.Unlock()
}

func (l *ledger) read() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.counts
	c.Closed = maps.Clone(c.Closed)
	return c
}
