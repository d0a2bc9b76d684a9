package main

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/livenet/livenet/liveness"
)

// handlerOf makes the handler of that name. out is where log writes.
func handlerOf(name string, out *printer) func(*liveness.Conn, []byte) error {
	switch name {
	case "discard":
		return discard
	case "log":
		return out.log
	}
	return echo
}

// echo sends back what comes.
func echo(c *liveness.Conn, p []byte) error {
	_, err := c.Write(p)
	return err
}

// discard forgets it.
func discard(*liveness.Conn, []byte) error { return nil }

// A printer is what many handlers write to, a line at a time.
type printer struct {
	w    io.Writer
	gone chan struct{} // closed when its reader has gone

	mu    sync.Mutex
	once  sync.Once
	began atomic.Pointer[time.Time] // when the write that is under way was begun; nil: none is
}

func newPrinter(w io.Writer) *printer { return &printer{w: w, gone: make(chan struct{})} }

func (p *printer) print(line string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.began.Store(&now)
	defer p.began.Store(nil)
	_, err := io.WriteString(p.w, line)
	if errors.Is(err, syscall.EPIPE) {
		p.once.Do(func() { close(p.gone) })
	}
	return err
}

// stuck reports whether its reader has taken nothing for d, though there is something.
func (p *printer) stuck(d time.Duration) bool {
	began := p.began.Load()
	return began != nil && time.Since(*began) >= d
}

// log writes what comes, one line for each piece, quoted, so that a peer can't
// forge lines or reach the terminal.
func (p *printer) log(c *liveness.Conn, b []byte) error {
	return p.print(fmt.Sprintf("#%d %s %q\n", c.ID(), c.RemoteAddr(), b))
}
