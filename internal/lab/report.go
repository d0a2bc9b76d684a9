package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// An output is what an experiment found. None is a report that there is not.
type output interface {
	text(io.Writer) error
	json(io.Writer) error
}

var none *report

// A report is what an experiment found, or none. Settings is a struct, and the rows of
// each table are a slice of structs; their json tags name the columns. Durations
// are nanoseconds in JSON.
type report struct {
	Experiment string  `json:"experiment"`
	Host       host    `json:"host"`
	Settings   any     `json:"settings"`
	Tables     []table `json:"tables"`
}

type host struct {
	System string `json:"system"`
	Cores  int    `json:"cores"`
	Go     string `json:"go"`
}

type table struct {
	Name string `json:"name"`
	Note string `json:"note,omitempty"`
	Rows any    `json:"rows"`
}

// These types say how a figure is written for people. Zero means unknown, and
// is left blank.
type (
	byteCount float64 // 64 B, 98.3 KiB
	percent   float64 // of a hundred: 5.3 %
	ratio     float64 // 0.98
	nanos     float64 // 1.94 ns
	rate      float64 // a second: 12,228
)

func newReport(experiment string, settings any, tables ...table) *report {
	return &report{
		Experiment: experiment, Settings: settings, Tables: tables,
		Host: host{runtime.GOOS + "/" + runtime.GOARCH, runtime.GOMAXPROCS(0), runtime.Version()},
	}
}

func (r *report) json(w io.Writer) error {
	if r == nil {
		return nil
	}
	return json.NewEncoder(w).Encode(r)
}

// text writes the report for people. A table without rows is left out.
func (r *report) text(w io.Writer) error {
	if r == nil {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, %d cores, %s\n", r.Experiment, r.Host.System, r.Host.Cores, r.Host.Go)
	if set := fields(reflect.TypeOf(r.Settings)); len(set) > 0 {
		var list []string
		for _, f := range set {
			if v := reflect.ValueOf(r.Settings).FieldByIndex(f.Index); !v.IsZero() {
				list = append(list, head(f)+" "+cell(v))
			}
		}
		b.WriteString(strings.Join(list, ", ") + "\n")
	}
	for _, t := range r.Tables {
		if rows := reflect.ValueOf(t.Rows); rows.Len() > 0 {
			fmt.Fprintf(&b, "\n%s\n\n", t.Name)
			writeRows(&b, rows)
			if t.Note != "" {
				fmt.Fprintf(&b, "\n%s\n", t.Note)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeRows(w io.Writer, rows reflect.Value) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer tw.Flush()
	columns := fields(rows.Type().Elem())
	var heads []string
	for _, c := range columns {
		heads = append(heads, head(c))
	}
	fmt.Fprintln(tw, strings.Join(heads, "\t"))
	for i := range rows.Len() {
		var cells []string
		for _, c := range columns {
			cells = append(cells, cell(rows.Index(i).FieldByIndex(c.Index)))
		}
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
}

// fields are the fields that JSON has, those of embedded structs included.
func fields(t reflect.Type) []reflect.StructField {
	var list []reflect.StructField
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	for _, f := range reflect.VisibleFields(t) {
		if f.IsExported() && !f.Anonymous && f.Tag.Get("json") != "-" {
			list = append(list, f)
		}
	}
	return list
}

// head is a field's JSON name without underscores and unit.
func head(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	for _, unit := range []string{"_ns", "_bytes", "_percent"} {
		name = strings.TrimSuffix(name, unit)
	}
	return strings.ReplaceAll(name, "_", " ")
}

// cell is a value for people.
func cell(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return duration(x)
	case []time.Duration:
		var list []string
		for _, d := range x {
			list = append(list, duration(d))
		}
		return strings.Join(list, " ")
	case byteCount:
		return size(x)
	case percent:
		return unit(float64(x), " %")
	case nanos:
		return unit(float64(x), " ns")
	case ratio:
		return unit(float64(x), "")
	case rate:
		return unit(float64(x), "")
	case int:
		return number(x)
	case int64:
		return number(int(x))
	}
	return fmt.Sprint(v.Interface())
}

func unit(f float64, name string) string {
	if f == 0 {
		return ""
	}
	return digits(f) + name
}

// duration writes three digits: 950ns, 12.3µs, 1.5s. Zero is left blank.
func duration(d time.Duration) string {
	if d == 0 {
		return ""
	}
	for unit := time.Duration(1); unit < time.Hour; unit *= 10 {
		if d.Abs() < 1000*unit {
			return d.Round(unit).String()
		}
	}
	return d.Round(time.Second).String()
}

func size(f byteCount) string {
	for _, unit := range []string{"B", "KiB", "MiB"} {
		if math.Abs(float64(f)) < 1024 {
			return digits(float64(f)) + " " + unit
		}
		f /= 1024
	}
	return digits(float64(f)) + " GiB"
}

// digits writes three digits, and all of them before the point.
func digits(f float64) string {
	switch a := math.Abs(f); {
	case f == math.Trunc(f), a >= 99.95:
		return number(int(math.Round(f)))
	case a >= 9.995:
		return strconv.FormatFloat(f, 'f', 1, 64)
	case a >= 0.9995:
		return strconv.FormatFloat(f, 'f', 2, 64)
	}
	return strconv.FormatFloat(f, 'f', 3, 64)
}

// number sets thousands apart.
func number(n int) string {
	if n < 0 {
		return "-" + number(-n)
	}
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// A tally counts by name: ends by reason, failures by error.
type tally map[string]int

func (t tally) sum() (n int) {
	for _, k := range t {
		n += k
	}
	return n
}

func (t tally) add(u tally) {
	for name, n := range u {
		t[name] += n
	}
}

// most is the most frequent name.
func (t tally) most() (name string) {
	for k, n := range t {
		if name == "" || n > t[name] || n == t[name] && k < name {
			name = k
		}
	}
	return name
}

func median[T ~int | ~int64 | ~float64](of []T) T { return quantile(of, 0.5) }

// quantile is the value that a share of all do not exceed; 0 of none.
func quantile[T ~int | ~int64 | ~float64](of []T, share float64) T {
	if len(of) == 0 {
		var zero T
		return zero
	}
	sorted := sortedCopy(of)
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}
