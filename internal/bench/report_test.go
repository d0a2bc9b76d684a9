package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"
)

func sample() *Report {
	wide := &Table{
		Key:   "rows",
		Title: "An echo",
		Columns: []Column{
			{Head: "transport", Key: "transport", Kind: Text},
			{Key: "under", Kind: Text},
			{Head: "msgs/s", Key: "messages_per_s", Kind: Count},
			{Key: "pid", Kind: Count, JSONOnly: true},
			{Head: "CPU/msg", Key: "cpu_us_per_message", Kind: Micros},
			{Head: "ratio", Key: "ratio", Kind: Ratio},
			{Head: "p50", Key: "p50_us", Kind: Micros, Break: true},
			{Head: "max", Key: "max_us", Kind: Micros},
		},
	}
	wide.Add("tcp", Label{"bare", "bare"}, 79663.4, 7, 12600*time.Nanosecond, nil, 12345*time.Nanosecond, 1210*time.Microsecond)
	wide.Add("quic", Label{"frame", "liveness, frame"}, 910, int64(8), 132*time.Microsecond, 0.99, 980*time.Nanosecond, nil)
	wide.Note("Medians of %d rounds, and a note that is so long that it does not fit into one line of a terminal.", 10)
	return &Report{
		Bench:    "echo",
		Settings: []Field{{Head: "messages of", Key: "size_bytes", Kind: Size, Value: 1024}, {Head: "each row for", Key: "for_s", Kind: Seconds, Value: 1500 * time.Millisecond}},
		Tables:   []*Table{wide, {Key: "load", Title: "Not shown", Columns: []Column{{Key: "what"}}}},
	}
}

func TestText(t *testing.T) {
	r := sample()
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	machine, got, _ := strings.Cut(b.String(), "\n")
	if !strings.HasPrefix(machine, runtime.GOOS+"/"+runtime.GOARCH+", ") || !strings.HasSuffix(machine, ", "+runtime.Version()) {
		t.Errorf("the machine: %s", machine)
	}
	const want = `messages of 1,024 B, each row for 1.5s

An echo

transport                   msgs/s  CPU/msg    ratio
tcp        bare             79,663  12.6 µs
quic       liveness, frame     910   132 µs  0.990 ×

transport                       p50      max
tcp        bare             12.3 µs  1.21 ms
quic       liveness, frame   980 ns

Medians of 10 rounds, and a note that is so long that it does not fit into one
line of a terminal.
`
	if got != want {
		t.Errorf("\n%s\nwant\n%s", got, want)
	}
}

// A line is broken between settings, and not within one.
func TestTextOfManySettings(t *testing.T) {
	r := new(Report)
	for _, head := range []string{"transport tcp, codec frame, io parked, sessions 150, beat 10s, timeout", "for", "and"} {
		r.Settings = append(r.Settings, Field{Head: head, Key: "for_s", Kind: Seconds, Value: 30 * time.Second})
	}
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	_, got, _ := strings.Cut(b.String(), "\n")
	const want = `transport tcp, codec frame, io parked, sessions 150, beat 10s, timeout 30s,
for 30s, and 30s
`
	if got != want {
		t.Errorf("\n%s\nwant\n%s", got, want)
	}
}

// Durations stand there as one would give them to a flag.
func TestTextOfDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{time.Hour: "for 1h", 5 * time.Minute: "for 5m", 90 * time.Second: "for 1m30s"} {
		if got := (Field{Head: "for", Value: d}).text(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestTextOfAnInterruption(t *testing.T) {
	r := sample()
	r.Interrupted = true
	var some, none strings.Builder
	r.WriteText(&some)
	(&Report{Interrupted: true, Tables: []*Table{{}}}).WriteText(&none)
	if want := "\n\nInterrupted: this is what there is.\n"; !strings.HasSuffix(some.String(), want) {
		t.Errorf("got %s", some.String())
	}
	if want := "\n\nInterrupted before there was anything to show.\n"; !strings.HasSuffix(none.String(), want) {
		t.Errorf("got %s", none.String())
	}
}

// The object is one line. Its members keep their order, since people read it,
// too.
func TestJSON(t *testing.T) {
	var b strings.Builder
	if err := sample().WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`{"bench":"echo","machine":{"os":%q,"arch":%q,"cores":%d,"go":%q},`, runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), runtime.Version()) +
		`"settings":{"size_bytes":1024,"for_s":1.5},"rows":[` +
		`{"transport":"tcp","under":"bare","messages_per_s":79663,"pid":7,"cpu_us_per_message":12.6,"ratio":null,"p50_us":12.345,"max_us":1210},` +
		`{"transport":"quic","under":"frame","messages_per_s":910,"pid":8,"cpu_us_per_message":132,"ratio":0.99,"p50_us":0.98,"max_us":null}` +
		`],"load":[],"interrupted":false}` + "\n"
	if b.String() != want {
		t.Errorf("\n%s\nwant\n%s", b.String(), want)
	}
	if !json.Valid([]byte(b.String())) {
		t.Error("it is not JSON")
	}
}

type full struct{}

var errFull = errors.New("no space left on device")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWriteError(t *testing.T) {
	if err := sample().WriteText(full{}); err != errFull {
		t.Error(err)
	}
	if err := sample().WriteJSON(full{}); err != errFull {
		t.Error(err)
	}
}

func TestRowOfTheWrongLength(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("it was taken")
		}
	}()
	(&Table{Columns: []Column{{Key: "a"}}}).Add("b", "c")
}

func TestKinds(t *testing.T) {
	for _, test := range []struct {
		kind  Kind
		value any
		text  string
		json  any
	}{
		{Text, "tcp", "tcp", "tcp"},
		{Text, Label{"lease", "Lease.Renew"}, "Lease.Renew", "lease"},
		{Text, nil, "", nil},
		{Count, 0, "0", 0},
		{Count, 999, "999", 999},
		{Count, 1000, "1,000", 1000},
		{Count, int64(-1234567), "-1,234,567", int64(-1234567)},
		{Count, 79663.5, "79,664", int64(79664)},
		{Count, nil, "", nil},
		{Number, 1.9351, "1.94", 1.9351},
		{Number, 0.0, "0", 0.0},
		{Number, 0.0001, "0.000", 0.0001},
		{Number, 0.99949, "0.999", 0.99949},
		{Number, 0.99951, "1.00", 0.99951},
		{Number, 9.996, "10.0", 9.996},
		{Number, 99.96, "100", 99.96},
		{Number, -5.21, "-5.21", -5.21},
		{Number, 123456.789, "123,457", 123457.0},
		{Number, math.Inf(1), "?", nil},
		{Number, math.NaN(), "?", nil},
		{Ratio, 26.04, "26.0 ×", 26.04},
		{Percent, 5.3, "5.30 %", 5.3},
		{Size, 64.0, "64.0 B", 64.0},
		{Size, 1024, "1,024 B", 1024},
		{Size, 65536, "64.0 KiB", 65536},
		{Size, 1 << 30, "1.00 GiB", 1 << 30},
		{Nanos, 1940 * time.Nanosecond, "1.94 µs", 1940.0},
		{Nanos, time.Duration(0), "0", 0.0},
		{Micros, 980 * time.Nanosecond, "980 ns", 0.98},
		{Millis, 19500 * time.Microsecond, "19.5 ms", 19.5},
		{Millis, -time.Millisecond, "-1.00 ms", -1.0},
		{Seconds, 90 * time.Second, "90.0 s", 90.0},
		{List, nil, "", nil},
	} {
		if got := test.kind.text(test.value); got != test.text {
			t.Errorf("%v: %q, want %q", test.value, got, test.text)
		}
		if got := test.kind.json(test.value); got != test.json {
			t.Errorf("%v in JSON: %v, want %v", test.value, got, test.json)
		}
	}
}

func TestList(t *testing.T) {
	some := []float64{0.5, 1, 10}
	if got := List.text(some); got != "0.5,1,10" {
		t.Errorf("got %s", got)
	}
	if got, err := json.Marshal(List.json(some)); err != nil || string(got) != "[0.5,1,10]" {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		of   []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{9, 1, 4, 5}, 4.5}} {
		if got := Median(test.of); got != test.want {
			t.Errorf("%v: %v", test.of, got)
		}
	}
}

func TestLatency(t *testing.T) {
	l, more := NewLatency(), NewLatency()
	for _, v := range l.Values() {
		if v != nil {
			t.Errorf("%v, of nothing", v)
		}
	}
	for i := range 999 {
		l.Record(time.Duration(i+1) * time.Microsecond)
	}
	more.Record(time.Hour) // is beyond all bounds, but counts
	more.Record(-1)
	l.Merge(more)
	if n := l.Count(); n != 1001 {
		t.Errorf("%d times", n)
	}
	for i, want := range []time.Duration{500 * time.Microsecond, 900 * time.Microsecond, 990 * time.Microsecond, 999 * time.Microsecond, time.Minute} {
		got := l.Values()[i].(time.Duration)
		if got < want*998/1000 || got > want*1002/1000 {
			t.Errorf("%s: %v, want %v", Quantiles(false)[i].Head, got, want)
		}
	}
}
