package bench

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Table is what was measured of several things.
type Table struct {
	Key     string // in JSON, where it is an array of objects
	Title   string // for people, above it; may be empty
	Columns []Column
	Rows    [][]any  // a value for each column: see [Kind]
	Notes   []string // for people, below it: a paragraph each
}

// A Column is one of a table's.
type Column struct {
	Head string // for people
	Key  string // in JSON, its unit included: "ns_per_op", "p99_us"
	Kind Kind

	// JSONOnly keeps the column from people, who have no room for it.
	JSONOnly bool

	// Break begins another block for people, below, with the columns of text
	// that the table begins with once more: what is too wide for a terminal.
	Break bool
}

// Add adds a row: a value for each column.
func (t *Table) Add(values ...any) {
	if len(values) != len(t.Columns) {
		panic(fmt.Sprintf("bench: a row of %d values in a table of %d columns", len(values), len(t.Columns)))
	}
	t.Rows = append(t.Rows, values)
}

// Note adds a paragraph to be shown below the table.
func (t *Table) Note(format string, args ...any) {
	t.Notes = append(t.Notes, fmt.Sprintf(format, args...))
}

// objects are the rows as JSON has them.
func (t *Table) objects() []object {
	list := make([]object, 0, len(t.Rows)) // [] rather than null
	for _, row := range t.Rows {
		var o object
		for i, c := range t.Columns {
			o = append(o, member{c.Key, c.Kind.json(row[i])})
		}
		list = append(list, o)
	}
	return list
}

// text writes the table for people.
func (t *Table) text(b *strings.Builder) {
	if t.Title != "" {
		b.WriteString(t.Title + "\n\n")
	}
	for i, block := range t.blocks() {
		if i > 0 {
			b.WriteByte('\n')
		}
		t.block(b, block)
	}
	for i, note := range t.Notes {
		if i == 0 {
			b.WriteByte('\n')
		}
		fill(b, note)
	}
}

// width is that of the lines that are broken here: a terminal's.
const width = 80

// fill writes a paragraph.
func fill(b *strings.Builder, text string) { wrap(b, strings.Fields(text)) }

// enumerate writes items with commas between them, and breaks none of them.
func enumerate(b *strings.Builder, items []string) {
	words := slices.Clone(items)
	for i := range len(words) - 1 {
		words[i] += ","
	}
	wrap(b, words)
}

// wrap writes words, as many into a line as it takes.
func wrap(b *strings.Builder, words []string) {
	column := 0
	for _, word := range words {
		n := utf8.RuneCountInString(word)
		switch {
		case column == 0:
		case column+1+n > width:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	b.WriteByte('\n')
}

// blocks are the columns of each block.
func (t *Table) blocks() [][]int {
	var names []int // the columns of text at the beginning
	for i, c := range t.Columns {
		if c.Kind != Text {
			break
		}
		names = append(names, i)
	}
	blocks := [][]int{nil}
	for i, c := range t.Columns {
		if c.JSONOnly {
			continue
		}
		if c.Break {
			blocks = append(blocks, append([]int(nil), names...))
		}
		last := len(blocks) - 1
		blocks[last] = append(blocks[last], i)
	}
	return blocks
}

// gap is what lies between two columns.
const gap = "  "

func (t *Table) block(b *strings.Builder, columns []int) {
	lines := make([][]string, 1+len(t.Rows))
	for _, i := range columns {
		c := t.Columns[i]
		cells := []string{c.Head}
		for _, row := range t.Rows {
			cells = append(cells, c.Kind.text(row[i]))
		}
		align(cells, c.Kind == Text)
		for n, cell := range cells {
			lines[n] = append(lines[n], cell)
		}
	}
	for _, line := range lines {
		b.WriteString(strings.TrimRight(strings.Join(line, gap), " ") + "\n")
	}
}

// align makes cells of one column equally wide.
func align(cells []string, left bool) {
	widest := 0
	for _, s := range cells {
		widest = max(widest, utf8.RuneCountInString(s))
	}
	for i, s := range cells {
		pad := strings.Repeat(" ", widest-utf8.RuneCountInString(s))
		if left {
			cells[i] = s + pad
		} else {
			cells[i] = pad + s
		}
	}
}
