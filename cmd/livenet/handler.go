package main

import (
	"fmt"
	"io"
	"sync"

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
	mu sync.Mutex
	w  io.Writer
}

func (p *printer) print(line string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := io.WriteString(p.w, line)
	return err
}

// log writes what comes, one line for each piece, quoted, so that a peer can't
// forge lines or reach the terminal.
func (p *printer) log(c *liveness.Conn, b []byte) error {
	return p.print(fmt.Sprintf("#%d %s %q\n", c.ID(), c.RemoteAddr(), b))
}
