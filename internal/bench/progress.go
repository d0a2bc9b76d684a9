package bench

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// A Progress hears how far a benchmark has got. Step may be called from any
// goroutine, and as often as is convenient: it costs next to nothing.
type Progress interface {
	// Step says what is being done now, and that done of total of the whole
	// benchmark is behind it, in whatever unit.
	Step(what string, done, total float64)
}

// BarOptions say what a bar looks like.
type BarOptions struct {
	Name    string     // stands before it
	Columns func() int // how wide the terminal is; nil: it is none
	Color   bool
	Unicode bool
}

// A Bar is a Progress that people can see: on a terminal one line, drawn in
// place and gone in the end; elsewhere a line every ten seconds.
type Bar struct {
	w     io.Writer
	o     BarOptions
	began time.Time

	mu          sync.Mutex
	what        string
	done, total float64

	quit  chan struct{}
	ended chan struct{} // of the drawing goroutine
	once  sync.Once
}

const (
	drawEvery = 100 * time.Millisecond
	sayEvery  = 10 * time.Second
)

// StartBar starts a bar, which must be closed.
func StartBar(w io.Writer, o BarOptions) *Bar {
	b := &Bar{w: w, o: o, began: time.Now(), quit: make(chan struct{}), ended: make(chan struct{})}
	go b.run()
	return b
}

// Step implements [Progress].
func (b *Bar) Step(what string, done, total float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.what, b.done, b.total = what, done, total
}

// Close takes the bar off the terminal.
func (b *Bar) Close() {
	b.once.Do(func() { close(b.quit) })
	<-b.ended
}

// What a terminal is told.
const (
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	clearLine  = "\r\x1b[K"
	green      = "\x1b[32m"
	dim        = "\x1b[2m"
	plain      = "\x1b[0m"
)

// run is the goroutine that draws. The benchmark must not be held up by a slow
// terminal.
func (b *Bar) run() {
	defer close(b.ended)
	every, write := sayEvery, b.say
	if b.o.Columns != nil {
		every, write = drawEvery, b.draw
		io.WriteString(b.w, hideCursor)
		defer io.WriteString(b.w, clearLine+showCursor)
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			write(time.Since(b.began))
		case <-b.quit:
			return
		}
	}
}

// state is what there is to show.
func (b *Bar) state() (what string, fraction float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.total > 0 {
		fraction = min(1, max(0, b.done/b.total))
	}
	return b.what, fraction
}

func (b *Bar) say(elapsed time.Duration) {
	what, fraction := b.state()
	fmt.Fprintf(b.w, "%s %3.0f %% after %s: %s\n", b.o.Name, 100*fraction, seconds(elapsed), what)
}

func (b *Bar) draw(elapsed time.Duration) {
	what, fraction := b.state()
	io.WriteString(b.w, clearLine+b.line(what, fraction, elapsed, b.o.Columns()))
}

const (
	mostCells  = 30
	leastCells = 8
	wordsRoom  = 34 // for what is being done; the bar's length does not depend on it
)

// line is the bar on a terminal of so many columns, the last of which stays
// free: a terminal may wrap a line that fills it.
func (b *Bar) line(what string, fraction float64, elapsed time.Duration, columns int) string {
	room := columns - 1
	head := b.o.Name + " "
	tail := fmt.Sprintf(" %3.0f %% %5s", 100*fraction, seconds(elapsed))
	cells := max(leastCells, min(mostCells, room-len(head)-len(tail)-wordsRoom))
	if len(head)+cells+len(tail) > room {
		return cut(strings.TrimSpace(tail), room)
	}
	words := cut(gap+what, room-len(head)-cells-len(tail))
	full := int(fraction * float64(cells))
	done, todo := "=", "-"
	if b.o.Unicode {
		done, todo = "━", "─"
	}
	return head + b.paint(green, strings.Repeat(done, full)) + b.paint(dim, strings.Repeat(todo, cells-full)) + tail + words
}

func (b *Bar) paint(color, s string) string {
	if !b.o.Color || s == "" {
		return s
	}
	return color + s + plain
}

// cut shortens s to so many columns.
func cut(s string, columns int) string {
	r := []rune(s)
	return string(r[:max(0, min(len(r), columns))])
}

// seconds is a time as it stands beside a bar: 12s, 3m05s.
func seconds(d time.Duration) string {
	s := int(d / time.Second)
	if s < 60 {
		return fmt.Sprintf("%ds", s)
	}
	return fmt.Sprintf("%dm%02ds", s/60, s%60)
}
