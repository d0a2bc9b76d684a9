package bench

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// A Kind is what sort of value a column holds, which says how it is shown. A
// value is a string or a [Label], an int, an int64, a float64, or a
// [time.Duration], but for List; nil stands for none: an empty cell, and null in JSON.
type Kind int

// The kinds of values. In JSON all but Text are numbers.
const (
	Text    Kind = iota // words; stands at the left, all others at the right
	Count               // a whole number: 1,000,000
	Number              // a number, to three digits: 1.94, 164
	Ratio               // the same, of two figures: 26 ×
	Percent             // the same, of hundred: 5.3 %
	Size                // a number of bytes: 64.0 B, 98.3 KiB
	Nanos               // a time.Duration: 1.9 µs for people, nanoseconds in JSON
	Micros              // the same, with microseconds in JSON
	Millis              // the same, with milliseconds in JSON
	Seconds             // the same, with seconds in JSON
	List                // a []float64: 0.5,1,2 for people, an array in JSON
)

// A Label is a text that has another form in JSON, one that stays the same when
// the words for people change.
type Label struct{ Key, Text string }

// units are those of the kinds in JSON.
var units = map[Kind]time.Duration{
	Nanos: time.Nanosecond, Micros: time.Microsecond, Millis: time.Millisecond, Seconds: time.Second,
}

// text is a value for people.
func (k Kind) text(v any) string {
	if v == nil {
		return ""
	}
	switch k {
	case Text:
		if l, ok := v.(Label); ok {
			return l.Text
		}
		return v.(string)
	case Count:
		return thousands(int64(math.Round(float(v))))
	case Number:
		return digits(float(v))
	case Ratio:
		return digits(float(v)) + " ×"
	case Percent:
		return digits(float(v)) + " %"
	case Size:
		return size(float(v))
	case List:
		return strings.Trim(strings.ReplaceAll(fmt.Sprint(v), " ", ","), "[]")
	}
	return Duration(v.(time.Duration))
}

// json is a value as JSON has it.
func (k Kind) json(v any) any {
	switch v := v.(type) {
	case Label:
		return v.Key
	case time.Duration:
		return significant(float64(v) / float64(units[k]))
	case float64:
		if k == Count {
			return int64(math.Round(v))
		}
		return significant(v)
	}
	return v
}

// float is any number.
func float(v any) float64 {
	switch n := v.(type) {
	case int:
		return float64(n)
	case int64:
		return float64(n)
	case float64:
		return n
	}
	panic(fmt.Sprintf("bench: %T is not a number", v))
}

// significant cuts a figure to six digits: no measurement has more, and those
// that a division leaves are in the way of whoever reads them. JSON has no
// infinities.
func significant(f float64) any {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return nil
	}
	f, _ = strconv.ParseFloat(strconv.FormatFloat(f, 'g', 6, 64), 64)
	return f
}

// digits is a figure to three digits, and all of them before the point.
func digits(f float64) string {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return "?"
	}
	switch a := math.Abs(f); {
	case a == 0:
		return "0"
	case a < 0.0005:
		return "0.000"
	case a < 0.9995:
		return strconv.FormatFloat(f, 'f', 3, 64)
	case a < 9.995:
		return strconv.FormatFloat(f, 'f', 2, 64)
	case a < 99.95:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return thousands(int64(math.Round(f)))
}

// thousands puts commas into a whole number.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	var groups []string
	for len(s) > 3 {
		groups = append([]string{s[len(s)-3:]}, groups...)
		s = s[:len(s)-3]
	}
	return sign + strings.Join(append([]string{s}, groups...), ",")
}

// size is a number of bytes: 64 B, 1,024 B, 98.3 KiB.
func size(f float64) string {
	if math.Abs(f) < 10_000 {
		return digits(f) + " B"
	}
	for _, unit := range []string{"KiB", "MiB"} {
		if f /= 1024; math.Abs(f) < 1024 {
			return digits(f) + " " + unit
		}
	}
	return digits(f/1024) + " GiB"
}

// Duration is a duration to three digits: 950 ns, 12.3 µs, 1.50 s.
func Duration(d time.Duration) string {
	a := d.Abs()
	switch {
	case a == 0:
		return "0"
	case a < time.Microsecond:
		return fmt.Sprintf("%d ns", d)
	case a < time.Millisecond:
		return digits(float64(d)/1e3) + " µs"
	case a < time.Second:
		return digits(float64(d)/1e6) + " ms"
	}
	return digits(d.Seconds()) + " s"
}
