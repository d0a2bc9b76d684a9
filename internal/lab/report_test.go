package main

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestReportText(t *testing.T) {
	type row struct {
		Name string        `json:"name"`
		N    int           `json:"how_many"`
		Each byteCount     `json:"each_bytes"`
		Took time.Duration `json:"took_ns"`
		latencyRow
		hidden int
	}
	type settings struct {
		Sessions int             `json:"sessions"`
		None     int             `json:"none"`
		Stops    []time.Duration `json:"stops_ns"`
	}
	r := newReport("test", settings{Sessions: 10_000, Stops: []time.Duration{time.Second, time.Minute}},
		table{"Rows", "A note.", []row{{"a", 1234567, 0, 0, latencyRow{What: "x", P50: 1500 * time.Microsecond}, 1}, {"long name", 0, 1536, 90 * time.Second, latencyRow{}, 2}}},
		table{"Nothing", "", []row{}})
	var b strings.Builder
	if err := r.text(&b); err != nil {
		t.Fatal(err)
	}
	_, got, _ := strings.Cut(b.String(), "\n")
	const want = `sessions 10,000, stops 1s 1m0s

Rows

name       how many   each      took   what  p50    p90  p99  p999  max
a          1,234,567  0 B              x     1.5ms
long name  0          1.50 KiB  1m30s

A note.
`
	var lines []string
	for line := range strings.Lines(got) {
		lines = append(lines, strings.TrimRight(line, " \n")+"\n")
	}
	if strings.Join(lines, "") != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestFigures(t *testing.T) {
	for got, want := range map[string]string{
		digits(0.0123): "0.012", digits(1.936): "1.94", digits(19.36): "19.4", digits(99.96): "100", digits(-1234.5): "-1,235",
		duration(950): "950ns", duration(12345): "12.3µs", duration(20*time.Millisecond + 7): "20ms", duration(0): "", duration(-time.Second): "-1s",
		size(64): "64 B", size(100_000): "97.7 KiB", size(3 << 30): "3 GiB",
		percentage.show(0.0249): "2.5 %", percentage.show(0.0004): "0.04 %", kibibyte.show(4096): "4.0 KiB", one.show(12345678): "12,345,678",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got := quantile([]int{3, 1, 2}, 0.5); got != 2 {
		t.Errorf("the median is %d", got)
	}
	if got := quantile([]int(nil), 1); got != 0 {
		t.Errorf("the greatest of none is %d", got)
	}
	if got := (tally{"a": 1, "b": 3, "c": 3}).most(); got != "b" {
		t.Errorf("mostly %s", got)
	}
	l := newLatency()
	for i := range 1000 {
		l.record(time.Duration(i+1) * time.Microsecond)
	}
	l.record(time.Hour) // beyond all bounds, but it counts
	if r := l.row(""); math.Abs(float64(r.P50-500*time.Microsecond)) > 2000 || r.Max < time.Minute {
		t.Errorf("got %+v", r)
	}
}

func TestProgressLine(t *testing.T) {
	p := &progress{name: "hold", bar: true}
	p.step(0.5, "%d of %d", 1, 2)
	if got, want := p.line(12*time.Second), "\r\x1b[Khold ==========----------  50 %   12s  1 of 2"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	p.bar = false
	p.step(7, "all")
	if got, want := p.line(time.Minute), "hold 100 % after 1m0s: all\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Whatever is plotted, bars fit in and the axis has a few ticks.
func TestAxis(t *testing.T) {
	for _, values := range [][]float64{
		nil, {0}, {-1, 0}, {1}, {0.004, 0.0041}, {3, 7, 9}, {24, 960}, {0.3, 1500}, {-2, 5, 10},
	} {
		x := newAxis(values, 500)
		if n := len(x.ticks); n < 1 || n > 8 {
			t.Errorf("%v: %d ticks: %v", values, n, x.ticks)
		}
		for _, v := range append(values, x.ticks...) {
			if at := x.at(v); !(at >= 0 && at <= 500) {
				t.Errorf("%v: %v is at %v", values, v, at)
			}
		}
	}
}
