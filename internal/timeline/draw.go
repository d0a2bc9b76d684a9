package timeline

import (
	"fmt"
	"strings"
	"time"
)

// Cells of a row.
const (
	mark = iota // an event
	line        // no event
	gap         // no event for longer than usual
	end
)

var (
	unicodeGlyphs = [...]string{mark: "●", line: "─", gap: "·", end: "✕"}
	asciiGlyphs   = [...]string{mark: "o", line: "-", gap: ".", end: "x"}
	colors        = [...]string{mark: "32", line: "2", gap: "33", end: "31"}
)

const (
	red    = "31"
	dim    = "2"
	fates  = 24 // columns for the text of an end
	least  = 12 // minimum columns of a row's line
	widest = 120
)

func (t *Timeline) nameWidth() int {
	w := 0
	for _, r := range t.rows {
		w = max(w, len(r.name))
	}
	return w
}

// width returns how many columns the span takes on a terminal with columns columns.
func (t *Timeline) width(columns int) int {
	return max(least, min(columns, widest)-t.nameWidth()-2-fates+6) // a row of full length has a short text
}

// column returns the column of a time.
func (t *Timeline) column(at time.Duration, width int) int {
	return int(at * time.Duration(width) / t.o.Span)
}

// axis returns the line with times above the rows.
func (t *Timeline) axis(columns int) string {
	width := t.width(columns)
	step := 2 * time.Second
	for t.column(step, width) < len("00s  ") {
		step *= 2
	}
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", t.nameWidth()+2))
	n := 0
	for at := time.Duration(0); at <= t.o.Span; at += step {
		text := fmt.Sprintf("%ds", at/time.Second)
		pad := t.column(at, width) - n
		n += pad + len(text)
		b.WriteString(strings.Repeat(" ", pad) + text)
	}
	return t.paint(dim, clip(b.String(), columns-1))
}

// line returns a row in its present state.
func (t *Timeline) line(r *row, columns int) string {
	name := fmt.Sprintf("%-*s  ", t.nameWidth(), r.name)
	until := t.o.Now()
	if r.fate != "" {
		until = r.end
	}
	width := t.width(columns)
	cells := t.cells(r, min(until, t.o.Span), width)
	room := columns - 1 - len(name) - len(cells)
	if r.fate == "" {
		return clip(name, columns-1) + t.join(cells[:min(len(cells), max(0, room+len(cells)))])
	}
	fate := clip(" "+r.fate, room)
	if !r.good {
		fate = t.paint(red, fate)
	}
	return clip(name, columns-1) + t.join(cells[:min(len(cells), max(0, room+len(cells)))]) + fate
}

// cells returns the cells of a row.
func (t *Timeline) cells(r *row, until time.Duration, width int) []int {
	cells := make([]int, t.column(until, width)+1)
	marked := make(map[int]bool)
	for _, at := range r.marks {
		marked[t.column(at, width)] = true
	}
	last := 0
	for i := range cells {
		switch {
		case marked[i]:
			cells[i], last = mark, i
		case i-last > t.column(t.o.Gap, width):
			cells[i] = gap
		default:
			cells[i] = line
		}
	}
	if r.fate != "" {
		cells[len(cells)-1] = end
	}
	return cells
}

// join returns cells as text, with one escape sequence for each run of equal cells.
func (t *Timeline) join(cells []int) string {
	glyphs := asciiGlyphs
	if t.o.Unicode {
		glyphs = unicodeGlyphs
	}
	var b strings.Builder
	for i := 0; i < len(cells); {
		n := 1
		for i+n < len(cells) && cells[i+n] == cells[i] {
			n++
		}
		b.WriteString(t.paint(colors[cells[i]], strings.Repeat(glyphs[cells[i]], n)))
		i += n
	}
	return b.String()
}

func (t *Timeline) paint(color, s string) string {
	if !t.o.Color || s == "" {
		return s
	}
	return "\x1b[" + color + "m" + s + "\x1b[0m"
}

// clip cuts ASCII text.
func clip(s string, columns int) string { return s[:max(0, min(len(s), columns))] }
