package transport

import (
	"errors"
	"net"
	"sync"
)

// A WriteGuard is for streams whose Close has to interrupt a Write before it can send a
// FIN. It runs one Write at a time, and remembers whether Close interrupted one that had
// written something: then the peer has a truncated message and must see a reset, because
// an EOF would look like the end of a complete message.
type WriteGuard struct {
	mu        sync.Mutex
	truncated bool
}

// Write calls write while no other runs. If this end has closed the stream, write's error
// must be [net.ErrClosed] in the sense of errors.Is.
func (g *WriteGuard) Write(write func() (int, error)) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, err := write()
	if n > 0 && errors.Is(err, net.ErrClosed) {
		g.truncated = true
	}
	return n, err
}

// Finish waits for the running Write, which the caller has interrupted, and calls end,
// which learns whether a Write was truncated.
func (g *WriteGuard) Finish(end func(truncated bool)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	end(g.truncated)
}
