package timeline

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const s = time.Second

func options(now time.Duration) Options {
	return Options{Span: 24 * s, Gap: 2 * s, Now: func() time.Duration { return now }}
}

func three(o Options) *Timeline {
	return &Timeline{o: o, rows: []row{
		{name: "tcp   sliding 4s", marks: []time.Duration{0, 2 * s, 4 * s, 6 * s, 8 * s, 10 * s, 12 * s, 14 * s, 16 * s, 18 * s}, end: 22 * s, fate: "silent at 22.0s", good: true},
		{name: "tcp   fixed 10s", marks: []time.Duration{0, 2 * s, 4 * s, 6 * s, 8 * s}, end: 10 * s, fate: "fixed-deadline at 10.0s", good: true},
		{name: "yamux sliding 4s", marks: []time.Duration{0, 2 * s}},
	}}
}

// picture returns what a terminal of that width shows.
func picture(t *Timeline, columns int) string {
	lines := []string{t.axis(columns)}
	for i := range t.rows {
		lines = append(lines, t.line(&t.rows[i], columns))
	}
	return strings.Join(lines, "\n") + "\n"
}

func TestPicture(t *testing.T) {
	got := picture(three(options(7*s)), 80)
	const want = `                  0s     4s     8s      12s    16s    20s     24s
tcp   sliding 4s  o--o---o---o--o---o---o--o---o---o---...x silent at 22.0s
tcp   fixed 10s   o--o---o---o--o---x fixed-deadline at 10.0s
yamux sliding 4s  o--o---......
`
	if got != want {
		t.Errorf("\n%s\nwant\n%s", got, want)
	}
}

func TestUnicode(t *testing.T) {
	o := options(7 * s)
	o.Unicode = true
	got := picture(three(o), 80)
	if !strings.Contains(got, "●──●───●───●──●───✕ fixed-deadline at 10.0s\n") {
		t.Errorf("\n%s", got)
	}
}

func TestColor(t *testing.T) {
	o := options(7 * s)
	o.Color = true
	tl := three(o)
	tl.rows[1].good = false
	got := picture(tl, 80)
	if !strings.Contains(got, "\x1b[32mo\x1b[0m\x1b[2m--\x1b[0m") || !strings.Contains(got, "\x1b[31m fixed-deadline at 10.0s\x1b[0m") {
		t.Errorf("%q", got)
	}
	if strings.Count(got, "\x1b[")%2 != 0 {
		t.Errorf("a colour is not ended: %q", got)
	}
}

// A line wider than the terminal would wrap, and later rows would be in the wrong place.
func TestNoLineIsWiderThanTheTerminal(t *testing.T) {
	for columns := 1; columns <= 300; columns++ {
		for line := range strings.Lines(picture(three(options(30*s)), columns)) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n >= columns && n > 0 {
				t.Fatalf("%d columns: %d wide: %s", columns, n, line)
			}
		}
	}
}

func TestPlainLines(t *testing.T) {
	var b bytes.Buffer
	tl := Start(&b, options(0), []string{"tcp   sliding 4s", "yamux fixed 10s"})
	tl.Mark(0, 2*s, 2)
	tl.End(1, 10*s, "fixed-deadline at 10.0s", true)
	tl.Close()
	const want = "   2.0s  tcp   sliding 4s  beat 2\n  10.0s  yamux fixed 10s   fixed-deadline at 10.0s\n"
	if b.String() != want {
		t.Errorf("\n%swant\n%s", b.String(), want)
	}
}

// On a terminal the last picture is complete and overwrites the earlier ones, and the cursor is
// shown again.
func TestAnimation(t *testing.T) {
	var b bytes.Buffer
	o := options(24 * s)
	o.Columns = func() int { return 80 }
	tl := Start(&b, o, []string{"tcp   fixed 10s"})
	tl.Mark(0, 0, 1)
	tl.End(0, 10*s, "fixed-deadline at 10.0s", true)
	tl.Close()
	tl.Close()
	got := b.String()
	if !strings.HasPrefix(got, "\x1b[?25l") || !strings.HasSuffix(got, "\x1b[?25h") {
		t.Errorf("the cursor: %q", got)
	}
	i := strings.LastIndex(got, "\x1b[2A")
	if i < 0 || !strings.Contains(got[i:], "x fixed-deadline at 10.0s\x1b[K\n") {
		t.Errorf("the last picture: %q", got)
	}
}
