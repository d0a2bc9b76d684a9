package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/livenet/livenet/internal/settings"
)

// A Report is what a benchmark found, or as much as there was time for.
type Report struct {
	Bench       string   // which one
	Settings    []Field  // what it was run with
	Tables      []*Table // in the order to be shown
	Interrupted bool     // there would have been more
}

// A Field is one setting, or one figure that belongs to no row.
type Field struct {
	Head  string // for people: "leases"
	Key   string // in JSON, its unit included: "for_s"
	Kind  Kind
	Value any // see [Kind]
}

// text is the field for people. A duration is as one would give it to a flag.
func (f Field) text() string {
	if d, ok := f.Value.(time.Duration); ok {
		return f.Head + " " + settings.Text(d)
	}
	return f.Head + " " + f.Kind.text(f.Value)
}

// OneOrAll is what a flag says that asks for some of the names: one of them, or
// all.
func OneOrAll(some, names []string) string {
	if len(some) == len(names) {
		return "all"
	}
	return strings.Join(some, ",")
}

// Rows is how many rows the report has.
func (r *Report) Rows() int {
	n := 0
	for _, t := range r.Tables {
		n += len(t.Rows)
	}
	return n
}

// WriteText writes the report for people: a line on the machine and one on the
// settings, and the tables. A table without rows is left out.
func (r *Report) WriteText(w io.Writer) error {
	b := new(strings.Builder)
	fmt.Fprintf(b, "%s/%s, %s, %s\n", runtime.GOOS, runtime.GOARCH, plural(runtime.GOMAXPROCS(0), "core"), runtime.Version())
	var list []string
	for _, f := range r.Settings {
		list = append(list, f.text())
	}
	if len(list) > 0 {
		enumerate(b, list)
	}
	for _, t := range r.Tables {
		if len(t.Rows) > 0 {
			b.WriteByte('\n')
			t.text(b)
		}
	}
	switch {
	case r.Interrupted && r.Rows() == 0:
		b.WriteString("\nInterrupted before there was anything to show.\n")
	case r.Interrupted:
		b.WriteString("\nInterrupted: this is what there is.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteJSON writes the report as one JSON object: which benchmark, the machine,
// the settings, an array of objects for each table, and whether it was
// interrupted.
func (r *Report) WriteJSON(w io.Writer) error {
	o := object{
		{"bench", r.Bench},
		{"machine", object{
			{"os", runtime.GOOS},
			{"arch", runtime.GOARCH},
			{"cores", runtime.GOMAXPROCS(0)},
			{"go", runtime.Version()},
		}},
	}
	set := object{}
	for _, f := range r.Settings {
		set = append(set, member{f.Key, f.Kind.json(f.Value)})
	}
	o = append(o, member{"settings", set})
	for _, t := range r.Tables {
		o = append(o, member{t.Key, t.objects()})
	}
	o = append(o, member{"interrupted", r.Interrupted})
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	_, err = w.Write(append(text, '\n'))
	return err
}

// An object is a JSON object whose members keep their order.
type object []member

type member struct {
	key   string
	value any
}

// MarshalJSON implements [json.Marshaler].
func (o object) MarshalJSON() ([]byte, error) {
	b := new(bytes.Buffer)
	b.WriteByte('{')
	for i, m := range o {
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.key, err)
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(b, "%q:%s", m.key, value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
