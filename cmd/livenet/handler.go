package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/livenet/livenet/liveness"
)

// A handler is what a server does with connections: with bytes as they come, and an
// idle connection may be parked; or else with a connection of its own each, which is
// never parked. out is where it may write.
type handler struct {
	data func(out *printer, c *liveness.Conn, b []byte) error
	conn func(ctx context.Context, out *printer, c *liveness.Conn)
}

var handlers = map[string]handler{
	"discard": {data: discard},
	"echo":    {data: echo},
	"log":     {data: (*printer).log},
}

func handlerNames() []string { return slices.Sorted(maps.Keys(handlers)) }

// serve makes it the server's.
func (h handler) serve(s *liveness.Server, out *printer) {
	if h.data != nil {
		s.Data = func(c *liveness.Conn, b []byte) error { return h.data(out, c, b) }
		return
	}
	s.Handler = func(ctx context.Context, c *liveness.Conn) { h.conn(ctx, out, c) }
}

// echo sends back what comes.
func echo(_ *printer, c *liveness.Conn, p []byte) error {
	_, err := c.Write(p)
	return err
}

// discard forgets it.
func discard(*printer, *liveness.Conn, []byte) error { return nil }

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
