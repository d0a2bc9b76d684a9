package main

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/livenet/livenet/liveness"
)

// handlerOf makes the handler of that name. out is where log writes.
func handlerOf(name string, out *printer) liveness.Handler {
	switch name {
	case "discard":
		return discard
	case "log":
		return out.log
	}
	return echo
}

// Buffers begin small, as most connections are idle most of the time, and grow
// with what comes.
const (
	smallBuffer = 2 << 10
	largeBuffer = 32 << 10
)

// readAll hands what comes to take, until the peer has ended its data or take
// fails.
func readAll(c io.Reader, take func([]byte) error) {
	buf := make([]byte, smallBuffer)
	for {
		n, err := c.Read(buf)
		if n > 0 && take(buf[:n]) != nil || err != nil {
			return
		}
		if n == len(buf) && n < largeBuffer {
			buf = make([]byte, 2*n)
		}
	}
}

// echo sends back what comes.
func echo(_ context.Context, c *liveness.Conn) {
	readAll(c, func(p []byte) error {
		_, err := c.Write(p)
		return err
	})
}

// discard reads and forgets.
func discard(_ context.Context, c *liveness.Conn) {
	readAll(c, func([]byte) error { return nil })
}

// A printer is what many handlers write to, a line at a time.
type printer struct {
	mu sync.Mutex
	w  io.Writer
}

func (p *printer) print(line string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := io.WriteString(p.w, line)
	return err
}

// log writes what comes, one line for each read, quoted, so that a peer can't
// forge lines or reach the terminal.
func (p *printer) log(_ context.Context, c *liveness.Conn) {
	readAll(c, func(b []byte) error {
		return p.print(fmt.Sprintf("#%d %s %q\n", c.ID(), c.RemoteAddr(), b))
	})
}
