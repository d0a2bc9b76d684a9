package timeline

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"
)

// Options say what a timeline looks like.
type Options struct {
	Span    time.Duration // from the left to the right
	Gap     time.Duration // how long after a mark nothing looks unusual
	Now     func() time.Duration
	Columns func() int // how wide the terminal is; nil: it is none
	Color   bool
	Unicode bool
}

// A Timeline shows rows. Its methods may be called at once from any goroutine.
type Timeline struct {
	w io.Writer
	o Options

	mu   sync.Mutex
	rows []row

	quit, ended chan struct{} // of the drawing goroutine
	drawn       bool          // its: there is something to draw over
}

// A row is what has happened to one thing.
type row struct {
	name  string
	marks []time.Duration
	end   time.Duration
	fate  string // what the end was; empty: it has not come
	good  bool
}

// frame is how often a terminal is drawn anew.
const frame = 40 * time.Millisecond

// Start shows a timeline with rows of those names. It must be closed.
func Start(w io.Writer, o Options, names []string) *Timeline {
	t := &Timeline{w: w, o: o, quit: make(chan struct{}), ended: make(chan struct{})}
	for _, name := range names {
		t.rows = append(t.rows, row{name: name})
	}
	if o.Columns == nil {
		close(t.ended)
		return t
	}
	go t.animate()
	return t
}

// Mark puts a mark into a row, which is the n-th.
func (t *Timeline) Mark(i int, at time.Duration, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &t.rows[i]
	r.marks = append(r.marks, at)
	t.say(at, r.name, fmt.Sprintf("beat %d", n))
}

// End ends a row. Good is whether that was as it should be.
func (t *Timeline) End(i int, at time.Duration, fate string, good bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &t.rows[i]
	r.end, r.fate, r.good = at, fate, good
	t.say(at, r.name, fate)
}

// say writes a line, where there is no terminal. The lock is held.
func (t *Timeline) say(at time.Duration, name, what string) {
	if t.o.Columns == nil {
		fmt.Fprintf(t.w, "%6.1fs  %-*s  %s\n", at.Seconds(), t.nameWidth(), name, what)
	}
}

// Close draws the rows for the last time.
func (t *Timeline) Close() {
	t.mu.Lock()
	select {
	case <-t.quit:
	default:
		close(t.quit)
	}
	t.mu.Unlock()
	<-t.ended
}

// What a terminal is told.
const (
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	clearRest  = "\x1b[K"
	up         = "\x1b[%dA"
)

// animate is the goroutine that draws.
func (t *Timeline) animate() {
	defer close(t.ended)
	io.WriteString(t.w, hideCursor)
	defer io.WriteString(t.w, showCursor)
	ticker := time.NewTicker(frame)
	defer ticker.Stop()
	for {
		t.draw()
		select {
		case <-ticker.C:
		case <-t.quit:
			t.draw()
			return
		}
	}
}

// draw draws all rows, over the ones drawn before, in one write.
func (t *Timeline) draw() {
	var b bytes.Buffer
	t.mu.Lock()
	if t.drawn {
		fmt.Fprintf(&b, up, len(t.rows)+1)
	}
	t.drawn = true
	columns := t.o.Columns()
	for i := range len(t.rows) + 1 {
		line := t.axis(columns)
		if i > 0 {
			line = t.line(&t.rows[i-1], columns)
		}
		b.WriteString("\r" + line + clearRest + "\n")
	}
	t.mu.Unlock()
	t.w.Write(b.Bytes())
}
