package bench

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/livenet/livenet/liveness"
)

// tiny is a Renew that is soon over, and measures nothing worth knowing.
var tiny = Renew{Leases: 100, For: 10 * time.Millisecond}

// whats are the names of a table's rows.
func whats(t *Table) string {
	var names []string
	for _, row := range t.Rows {
		names = append(names, row[0].(Label).Key)
	}
	return strings.Join(names, " ")
}

func TestRenew(t *testing.T) {
	w := new(watch)
	r, err := tiny.Run(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	rows, load := r.Tables[0], r.Tables[1]
	if got, want := whats(rows), "lease lease-all-cores timer-reset after-func set-read-deadline lease-random timer-reset-random"; got != want {
		t.Errorf("rows %s, want %s", got, want)
	}
	if got, want := whats(load), "none lease timer"; got != want {
		t.Errorf("loads %s, want %s", got, want)
	}
	if len(rows.Rows) != ones+manies || len(load.Rows) != loadRows {
		t.Error("the course was laid out for other rows")
	}
	for _, row := range rows.Rows {
		if nanos := row[2].(float64); nanos <= 0 || row[3].(float64) < nanos {
			t.Errorf("%v: %v ns, and %v at worst", row[0], nanos, row[3])
		}
	}
	for _, row := range load.Rows[1:] {
		if row[4] != tiny.doomed() || row[5] != 0 {
			t.Errorf("%v: of %d, %v expired, %v early", row[0], tiny.doomed(), row[4], row[5])
		}
	}
	if w.last < 0.99 {
		t.Errorf("in the end the bar stands at %v", w.last)
	}
}

// Wherever it is interrupted, it ends what it started, which TestMain sees to,
// and returns the rows that are whole.
func TestRenewInterrupted(t *testing.T) {
	for _, test := range []struct {
		until       string
		after       int
		rows, loads string
	}{
		{"Lease.Renew", 0, "", ""},
		{"Timer.Reset", 0, "lease lease-all-cores", ""},
		{"granting 100 leases, starting 100 timers", 0, "lease lease-all-cores timer-reset after-func set-read-deadline", ""},
		{"Timer.Reset, random order", 0, "lease lease-all-cores timer-reset after-func set-read-deadline lease-random", ""},
		{"under load: the load alone", 0, "lease lease-all-cores timer-reset after-func set-read-deadline lease-random timer-reset-random", ""},
		{"under load: leases", 0, "lease lease-all-cores timer-reset after-func set-read-deadline lease-random timer-reset-random", "none"},
		{"under load: leases", 20, "lease lease-all-cores timer-reset after-func set-read-deadline lease-random timer-reset-random", "none"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		w := &watch{until: test.until, after: test.after, cancel: cancel}
		r, err := tiny.Run(ctx, w)
		if err != nil {
			t.Errorf("%s: %v", test.until, err)
			continue
		}
		if ctx.Err() == nil {
			t.Errorf("%s: never came; there were %s", test.until, strings.Join(w.what, "; "))
		}
		if rows, loads := whats(r.Tables[0]), whats(r.Tables[1]); rows != test.rows || loads != test.loads {
			t.Errorf("%s: rows %s; loads %s", test.until, rows, loads)
		}
		cancel()
	}
}

func TestCycle(t *testing.T) {
	const n = 1000
	c := cycle{order: shuffled(n)}
	var first, second []uint32
	for range n {
		first = append(first, c.next())
	}
	for range n {
		second = append(second, c.next())
	}
	if !slices.Equal(first, second) {
		t.Error("the second time round is another")
	}
	if slices.IsSorted(first) {
		t.Error("the order is not random")
	}
	slices.Sort(first)
	for i, x := range first {
		if x != uint32(i) {
			t.Fatalf("%d is missing", i)
		}
	}
}

// The operations are shared out, and none is lost.
func TestOnAllCores(t *testing.T) {
	for _, n := range []int{0, 1, 2, 1001} {
		got := make(chan int, 1000)
		onAllCores(func(n int) { got <- n })(n)
		close(got)
		sum := 0
		for n := range got {
			sum += n
		}
		if sum != n {
			t.Errorf("%d of %d", sum, n)
		}
	}
}

// No deadline of the load passes by itself, and those that are to pass do so
// within the window.
func TestLoadIsPossible(t *testing.T) {
	for _, r := range []Renew{{1, time.Millisecond}, {1_000_000, time.Second}, {MostLeases, time.Minute}} {
		turn := time.Second * time.Duration(r.Leases) / renewals
		if turn >= lifetime*3/4 {
			t.Errorf("%d leases are renewed every %v", r.Leases, turn)
		}
		if s := r.stagger(); s <= lifetime/2 || s > lifetime {
			t.Errorf("%d leases are staggered over %v", r.Leases, s)
		}
		if n := r.doomed(); n < 1 || n > mostDoomed || time.Second*time.Duration(n)/renewals > max(r.For, time.Second) {
			t.Errorf("%d fall due within %v", n, r.For)
		}
	}
	if dueAfter <= settling || dueAfter+1 >= window {
		t.Error("they fall due outside the window")
	}
}

// The staggered policy asks for an early look, and judges as the one beneath.
func TestStaggered(t *testing.T) {
	const s = time.Second
	p := staggered{liveness.Sliding(30 * s), uint64(20 * s)}
	seed := uint64(45 * s) // looks first at 5 s
	for _, test := range []struct {
		age, heard time.Duration
		want       liveness.Verdict
	}{
		{0, 0, liveness.JudgeAgain(5 * s)},
		{5*s - 1, 0, liveness.JudgeAgain(5 * s)},
		{5 * s, 0, liveness.JudgeAgain(30 * s)},
		{5 * s, 2 * s, liveness.JudgeAgain(32 * s)},
		{3 * s, 2 * s, liveness.JudgeAgain(32 * s)},
		{30 * s, 0, liveness.Expired(liveness.Silent, 30*s)},
	} {
		if got := p.Judge(liveness.Evidence{Age: test.age, Heard: test.heard, Seed: seed}); got != test.want {
			t.Errorf("at %v, heard at %v: %v, want %v", test.age, test.heard, got, test.want)
		}
	}
}

func TestLateness(t *testing.T) {
	l := &load{doomed: make([]doomed, 4)}
	for i, passed := range []time.Duration{30, 9, 0, 11} { // the third has not
		l.doomed[i].timeout = 7
		l.doomed[i].heard.Store(3)
		l.doomed[i].passed.Store(int64(passed))
	}
	late, early := l.lateness()
	if want := []time.Duration{-1, 1, 20}; !slices.Equal(late, want) || early != 1 {
		t.Errorf("%v, %d early", late, early)
	}
	if got := quantile(late, 0.5); got != time.Duration(1) {
		t.Errorf("the median is %v", got)
	}
	if quantile(late, 1) != time.Duration(20) || quantile(nil, 0.5) != nil {
		t.Error("the quantiles are wrong")
	}
}
