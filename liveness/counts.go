package liveness

import (
	"maps"
	"sync"
)

// Counts counts the sessions or the streams of one listener since it began. Accepted is
// always Live plus the sums of Closed and Claimed.
type Counts struct {
	Accepted uint64            // in all
	Live     uint64            // now
	Closed   map[Reason]uint64 // ended, by the reason that this side decided or observed
	Claimed  map[Reason]uint64 // ended, by the reason that the peer gave, which may be any
}

// counters updates Counts. Its lock keeps them consistent.
type counters struct {
	mu     sync.Mutex
	counts Counts
}

func (l *counters) opened() {
	l.mu.Lock()
	l.counts.Accepted++
	l.counts.Live++
	l.mu.Unlock()
}

func (l *counters) closed(e *Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	by := &l.counts.Closed
	if e.Claimed() {
		by = &l.counts.Claimed
	}
	if *by == nil {
		*by = make(map[Reason]uint64)
	}
	l.counts.Live--
	(*by)[e.Reason]++
}

func (l *counters) read() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.counts
	c.Closed, c.Claimed = maps.Clone(c.Closed), maps.Clone(c.Claimed)
	return c
}
