package liveness

import (
	"sync"
	"time"
)

// lingers are a server's connections of which nothing is left but to wait for the
// peer's end. They are no sessions any more, and the server waits for them when it
// ends.
type lingers struct {
	mu     sync.Mutex
	conns  map[*Conn]struct{}
	forced bool // nobody is waited for any longer
	all    sync.WaitGroup
}

func (l *lingers) add(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns == nil {
		l.conns = make(map[*Conn]struct{})
	}
	l.conns[c] = struct{}{}
	l.all.Add(1)
	if l.forced {
		c.stream.Close()
	}
}

func (l *lingers) remove(c *Conn) {
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
	l.all.Done()
}

// wait waits for all to end, for d at most.
func (l *lingers) wait(d time.Duration) {
	timer := time.AfterFunc(d, l.end)
	defer timer.Stop()
	l.all.Wait()
}

// end has nobody waited for any longer.
func (l *lingers) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forced = true
	for c := range l.conns {
		c.stream.Close()
	}
}
