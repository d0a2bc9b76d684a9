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

	"github.com/livenet/livenet/internal/eventlog"
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
	"log":     {data: (*printer).logLine},
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

// A printer is what many handlers write to, a line at a time. It holds mostWaiting lines
// at most; further ones wait with their connections, which are not read from meanwhile.
type printer struct {
	w     io.Writer
	log   *eventlog.Log
	slots chan struct{} // holds a token for each line in the queue or being written
	queue chan string
	lost  atomic.Int64  // lines that were not written, and not told of
	gone  chan struct{} // closed when its reader has gone
	ended chan struct{} // closed by the writing goroutine
}

const mostWaiting = 64

// newPrinter starts a printer. It must be closed.
func newPrinter(w io.Writer, log *eventlog.Log) *printer {
	p := &printer{
		w: &eventlog.Writer{W: w}, log: log,
		slots: make(chan struct{}, mostWaiting), queue: make(chan string, mostWaiting),
		gone: make(chan struct{}), ended: make(chan struct{}),
	}
	go p.write()
	return p
}

// write is the goroutine that writes.
func (p *printer) write() {
	defer close(p.ended)
	var gone sync.Once
	for line := range p.queue {
		_, err := io.WriteString(p.w, line)
		<-p.slots
		switch {
		case err == nil:
			p.tellLost()
			continue
		case errors.Is(err, syscall.EPIPE):
			gone.Do(func() { close(p.gone) })
		}
		p.lost.Add(1)
	}
}

func (p *printer) tellLost() {
	if n := p.lost.Swap(0); n > 0 {
		p.log.Lost("stdout", n)
	}
}

// close waits until all is written, but no longer than d. No line may come any more.
func (p *printer) close(d time.Duration) (err error) {
	close(p.queue)
	select {
	case <-p.ended:
	case <-time.After(d):
		p.lost.Add(int64(len(p.slots)))
		err = errUnread
	}
	p.tellLost()
	return err
}

// print writes line for c. If there is no room before c ends, it is lost.
func (p *printer) print(c *liveness.Conn, line func() string) {
	select {
	case p.slots <- struct{}{}:
	default:
		select {
		case p.slots <- struct{}{}:
		case <-c.Done():
			p.lost.Add(1)
			return
		}
	}
	p.queue <- line()
}

// logLine writes what comes, one line for each piece, quoted, so that a peer can't
// forge lines or reach the terminal.
func (p *printer) logLine(c *liveness.Conn, b []byte) error {
	p.print(c, func() string { return fmt.Sprintf("#%s %s %q\n", number(c), c.RemoteAddr(), b) })
	return nil
}

// number is how the log calls a connection: by its session, or by session.stream.
func number(c *liveness.Conn) string {
	if c.SessionID() == 0 {
		return fmt.Sprint(c.ID())
	}
	return fmt.Sprintf("%d.%d", c.SessionID(), c.ID())
}
