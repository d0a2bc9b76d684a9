package liveness

import (
	"sync"
	"time"
)

// lingers lists a server's connections that have ended and wait for the peer's FIN. They are
// not in the server's list of sessions, but Serve waits for them.
type lingers struct {
	mu     sync.Mutex
	conns  map[*Conn]struct{}
	forced bool // end was called: close at once
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

// wait waits for all of them, for d at most.
func (l *lingers) wait(d time.Duration) {
	timer := time.AfterFunc(d, l.end)
	defer timer.Stop()
	l.all.Wait()
}

// end closes all of them, and those that are added later, at once.
func (l *lingers) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forced = true
	for c := range l.conns {
		c.stream.Close()
	}
}
