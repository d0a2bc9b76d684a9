package timeline

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"
)

// Options configure a Timeline.
type Options struct {
	Span    time.Duration // from the left edge to the right edge
	Gap     time.Duration // the usual time between marks
	Now     func() time.Duration
	Columns func() int // the terminal's width; nil if the output is no terminal
	Color   bool
	Unicode bool
}

// A Timeline shows rows. Its methods may be called at once from any goroutine.
type Timeline struct {
	w io.Writer
	o Options

	mu   sync.Mutex
	rows []row

	quit, ended chan struct{} // for the drawing goroutine
	drawn       bool          // used by the drawing goroutine: rows have been drawn before
}

// A row is the events of one connection.
type row struct {
	name  string
	marks []time.Duration
	end   time.Duration
	fate  string // the text of the end; empty before the end
	good  bool
}

// frame is the interval between redraws.
const frame = 40 * time.Millisecond

// Start shows a timeline with a row for each name. It must be closed.
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

// Mark adds the n-th mark to row i.
func (t *Timeline) Mark(i int, at time.Duration, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &t.rows[i]
	r.marks = append(r.marks, at)
	t.say(at, r.name, fmt.Sprintf("beat %d", n))
}

// End ends row i. good says whether the end was as expected.
func (t *Timeline) End(i int, at time.Duration, fate string, good bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &t.rows[i]
	r.end, r.fate, r.good = at, fate, good
	t.say(at, r.name, fate)
}

// say writes a line if the output is no terminal. The caller holds mu.
func (t *Timeline) say(at time.Duration, name, what string) {
	if t.o.Columns == nil {
		fmt.Fprintf(t.w, "%6.1fs  %-*s  %s\n", at.Seconds(), t.nameWidth(), name, what)
	}
}

// Close draws the rows for the last time, and stops drawing.
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

// Escape sequences.
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

// draw draws all rows over the earlier ones, in one write.
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
