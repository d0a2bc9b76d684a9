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

// A handler serves connections. It has either data, which is called with each piece of input,
// so that idle connections can be parked, or conn, which is called once for each connection.
// out writes to stdout.
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

// serve sets the server's Data or Handler.
func (h handler) serve(s *liveness.Server, out *printer) {
	if h.data != nil {
		s.Data = func(c *liveness.Conn, b []byte) error { return h.data(out, c, b) }
		return
	}
	s.Handler = func(ctx context.Context, c *liveness.Conn) { h.conn(ctx, out, c) }
}

// echo sends input back.
func echo(_ *printer, c *liveness.Conn, p []byte) error {
	_, err := c.Write(p)
	return err
}

// discard drops input.
func discard(*printer, *liveness.Conn, []byte) error { return nil }

// A printer writes the lines of many handlers to stdout. It queues at most maxQueued lines.
// When the queue is full, handlers wait, and their connections are not read.
type printer struct {
	w     io.Writer
	log   *eventlog.Log
	slots chan struct{} // holds a token for each line in the queue or being written
	queue chan string
	lost  atomic.Int64  // lines that were not written, since the last report
	gone  chan struct{} // closed when stdout is a closed pipe
	ended chan struct{} // closed by the writing goroutine
}

const maxQueued = 64

// newPrinter starts a printer. It must be closed.
func newPrinter(w io.Writer, log *eventlog.Log) *printer {
	p := &printer{
		w: &eventlog.Writer{W: w}, log: log,
		slots: make(chan struct{}, maxQueued), queue: make(chan string, maxQueued),
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
			p.reportLost()
			continue
		case errors.Is(err, syscall.EPIPE):
			gone.Do(func() { close(p.gone) })
		}
		p.lost.Add(1)
	}
}

func (p *printer) reportLost() {
	if n := p.lost.Swap(0); n > 0 {
		p.log.Lost("stdout", n)
	}
}

// close waits until all is written, but no longer than d. print must not be called any more.
func (p *printer) close(d time.Duration) (err error) {
	close(p.queue)
	select {
	case <-p.ended:
	case <-time.After(d):
		p.lost.Add(int64(len(p.slots)))
		err = errUnread
	}
	p.reportLost()
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

// logLine writes a line for each piece of input. It is quoted, so that a peer can't forge
// lines or control the terminal.
func (p *printer) logLine(c *liveness.Conn, b []byte) error {
	p.print(c, func() string { return fmt.Sprintf("#%s %s %q\n", number(c), c.RemoteAddr(), b) })
	return nil
}

// number is how the log calls a connection: by its session, or by session.stream.
func number(c *liveness.Conn) string {
	if c.Multiplexed() {
		return fmt.Sprintf("%d.%d", c.Session().ID(), c.ID())
	}
	return fmt.Sprint(c.ID())
}
