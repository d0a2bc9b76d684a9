package bench

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"
)

func TestLine(t *testing.T) {
	const what = "Lease.Renew, random order"
	for _, test := range []struct {
		o        BarOptions
		fraction float64
		elapsed  time.Duration
		columns  int
		want     string
	}{
		{BarOptions{Name: "bench renew"}, 0, 0, 80, "bench renew ---------------------   0 %    0s  " + what},
		{BarOptions{Name: "bench renew"}, 0.5, 12 * time.Second, 80, "bench renew ==========-----------  50 %   12s  " + what},
		{BarOptions{Name: "bench renew"}, 1, 185 * time.Second, 200, "bench renew ============================== 100 % 3m05s  " + what},
		{BarOptions{Name: "bench renew"}, 0.25, time.Second, 50, "bench renew ==------  25 %    1s  Lease.Renew, ra"},
		{BarOptions{Name: "bench renew"}, 0.25, time.Second, 20, "25 %    1s"},
		{BarOptions{Name: "b", Unicode: true}, 0.5, time.Second, 24, "b ━━━━────  50 %    1s  "},
		{BarOptions{Name: "b", Color: true}, 0.5, time.Second, 24, "b \x1b[32m====\x1b[0m\x1b[2m----\x1b[0m  50 %    1s  "},
	} {
		b := &Bar{o: test.o}
		if got := b.line(what, test.fraction, test.elapsed, test.columns); strings.TrimRight(got, " ") != strings.TrimRight(test.want, " ") {
			t.Errorf("\n got %q\nwant %q", got, test.want)
		}
	}
}

// A line that is too long would be wrapped, and not be drawn over.
func TestNoLineIsWiderThanTheTerminal(t *testing.T) {
	b := &Bar{o: BarOptions{Name: "bench renew", Unicode: true}}
	for columns := range 200 {
		line := b.line("what is being done: "+strings.Repeat("µ", 100), 0.7, time.Hour, columns)
		if n := utf8.RuneCountInString(line); n >= columns && n > 0 {
			t.Fatalf("%d columns: %d wide: %s", columns, n, line)
		}
	}
}

// A screen is a terminal that many may write to and look at.
type screen struct {
	mu    sync.Mutex
	b     bytes.Buffer
	drawn chan struct{}
	once  sync.Once
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.b.Write(p)
	if strings.Contains(s.b.String(), "50 %") {
		s.once.Do(func() { close(s.drawn) })
	}
	return n, err
}

// On a terminal the bar is drawn in place, and nothing of it is left.
func TestBarOnATerminal(t *testing.T) {
	s := &screen{drawn: make(chan struct{})}
	b := StartBar(s, BarOptions{Name: "bench", Columns: func() int { return 80 }})
	b.Step("half", 1, 2)
	<-s.drawn
	b.Close()
	b.Close()
	got := s.b.String()
	if !strings.HasPrefix(got, hideCursor+clearLine+"bench ") || !strings.HasSuffix(got, clearLine+showCursor) || strings.Contains(got, "\n") {
		t.Errorf("%q", got)
	}
}

// Elsewhere there are lines, and none of what is soon over.
func TestBarElsewhere(t *testing.T) {
	var w bytes.Buffer
	b := StartBar(&w, BarOptions{Name: "bench renew"})
	b.Step("under load", 1, 3)
	b.Close()
	if w.Len() > 0 {
		t.Errorf("%q", w.String())
	}
	b.say(70 * time.Second)
	if want := "bench renew  33 % after 1m10s: under load\n"; w.String() != want {
		t.Errorf("%q, want %q", w.String(), want)
	}
}

// However wrong the estimate was, the bar stays within its bounds.
func TestFraction(t *testing.T) {
	for _, test := range []struct{ done, total, want float64 }{{0, 0, 0}, {1, 2, 0.5}, {3, 2, 1}, {-1, 2, 0}} {
		b := new(Bar)
		b.Step("", test.done, test.total)
		if _, got := b.state(); got != test.want {
			t.Errorf("%v of %v: %v", test.done, test.total, got)
		}
	}
}
