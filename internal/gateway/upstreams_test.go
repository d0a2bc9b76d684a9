package gateway

import (
	"testing"
	"time"
)

// newUpstreams makes upstreams called a, b and so on.
func newUpstreams(n int) *upstreams {
	s := new(upstreams)
	for i := range n {
		s.list = append(s.list, &upstream{Address: Address{"tcp", string(rune('a' + i))}})
	}
	return s
}

// picked picks for a connection that is dialled at once, and stays.
func (s *upstreams) picked(now time.Time, tried ...*upstream) string {
	set := make(map[*upstream]bool)
	for _, u := range tried {
		set[u] = true
	}
	u := s.pick(now, set)
	if u == nil {
		return ""
	}
	u.dialing--
	return u.Addr
}

var epoch = time.Unix(1_000_000, 0)

func TestPickTakesTheFewest(t *testing.T) {
	s := newUpstreams(3)
	got := ""
	for range 7 {
		got += s.picked(epoch)
	}
	if got != "abcabca" {
		t.Errorf("picked %s: equals take turns", got)
	}
	s.list[1].active = 0
	if got := s.picked(epoch) + s.picked(epoch); got != "bb" {
		t.Errorf("picked %s, want the one with the fewest connections", got)
	}
	if got := s.picked(epoch, s.list[0], s.list[1]); got != "c" {
		t.Errorf("picked %s after a and b were tried", got)
	}
	if got := s.picked(epoch, s.list...); got != "" {
		t.Errorf("picked %s after all were tried", got)
	}
}

func TestPickLeavesOutThoseThatRest(t *testing.T) {
	s := newUpstreams(2)
	a, b := s.list[0], s.list[1]
	a.failed(epoch, "refused", 0)
	b.active = 100
	if got := s.picked(epoch.Add(firstRest - 1)); got != "b" {
		t.Errorf("picked %s while a rests", got)
	}
	if got := s.picked(epoch.Add(firstRest)); got != "a" {
		t.Errorf("picked %s when a has rested", got)
	}
	// One at a time tries whether it is back.
	a.dialing = 1
	if got := s.picked(epoch.Add(firstRest)); got != "b" {
		t.Errorf("picked %s while a is being tried", got)
	}
	a.reached()
	if got := s.picked(epoch.Add(firstRest)); got != "a" {
		t.Errorf("picked %s when a is back", got)
	}
	// Where all rest there is no better way than to try.
	a.failed(epoch, "refused", 0)
	b.failed(epoch, "refused", 1)
	if got := s.picked(epoch); got != "b" {
		t.Errorf("picked %s: b has rested first", got)
	}
}

func TestRestGrows(t *testing.T) {
	u := new(upstream)
	now := epoch
	for i, want := range []time.Duration{firstRest, 2 * firstRest, 4 * firstRest, 8 * firstRest, 16 * firstRest, 32 * firstRest, longRest, longRest} {
		u.failed(now, "refused", 0)
		if got := u.rests.Sub(now); got != want {
			t.Errorf("rest %d is %v, want %v", i, got, want)
		}
		u.failed(now.Add(want-1), "refused", 0) // of a client that had no other
		if got := u.rests.Sub(now); got != want {
			t.Errorf("rest %d was prolonged to %v", i, got)
		}
		now = u.rests
	}
	u.failures = 1000
	u.failed(now, "refused", 1)
	if got := u.rests.Sub(now); got != longRest/2 {
		t.Errorf("with all jitter the longest rest is %v, want %v", got, longRest/2)
	}
}

// What is told is what has changed.
func TestNews(t *testing.T) {
	u := new(upstream)
	for i, step := range []struct {
		cause string
		want  bool
	}{{"", false}, {"refused", true}, {"refused", false}, {"timed out", true}, {"", true}, {"", false}, {"refused", true}} {
		got := false
		if step.cause == "" {
			got = u.reached()
		} else {
			got = u.failed(epoch, step.cause, 0)
		}
		if got != step.want {
			t.Errorf("step %d, %q: news: %v", i, step.cause, got)
		}
	}
}
