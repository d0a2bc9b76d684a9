package transport

import (
	"errors"
	"net"
	"sync"
)

// A WriteGuard is for streams whose Close has to interrupt a Write before it can
// say anything to the peer. It lets one Write run at a time, and remembers
// whether the stream's end cut one short: the peer has got half a message then,
// and must see a reset, since it would take an EOF for the message's end.
type WriteGuard struct {
	mu  sync.Mutex
	cut bool
}

// Write calls write, which is a Write without its argument. If this end has
// ended the stream, its error is [net.ErrClosed] in the sense of errors.Is.
func (g *WriteGuard) Write(write func() (int, error)) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, err := write()
	if n > 0 && errors.Is(err, net.ErrClosed) {
		g.cut = true
	}
	return n, err
}

// Finish waits for the Write that runs, which the caller has interrupted, and
// calls end with whether one was cut short.
func (g *WriteGuard) Finish(end func(cut bool)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	end(g.cut)
}
