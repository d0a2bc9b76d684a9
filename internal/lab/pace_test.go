package main

import (
	"testing"
	"time"
)

// Each session beats once in an interval, evenly, wherever one looks.
func TestPace(t *testing.T) {
	const n, every = 7, time.Second
	p := pace{every: every, n: n}
	var beats [n]int
	last := [n]time.Duration{}
	now := time.Duration(0)
	for now < 10*every {
		if next := p.next(); next <= now {
			t.Fatalf("at %v the next beat is at %v", now, next)
		} else {
			now = next
		}
		count := 0
		late := p.due(now, func(session int) {
			count++
			if gap := now - last[session]; beats[session] > 0 && (gap < every-time.Microsecond || gap > every+time.Microsecond) {
				t.Errorf("session %d beats after %v", session, gap)
			}
			last[session] = now
			beats[session]++
		})
		if count != 1 || late > time.Microsecond {
			t.Errorf("at %v: %d beats, the first of them late by %v", now, count, late)
		}
		if p.due(now, func(int) { count++ }); count != 1 {
			t.Errorf("at %v: a beat is due twice", now)
		}
	}
	for session, k := range beats {
		if k != 10 {
			t.Errorf("session %d beats %d times in 10 intervals", session, k)
		}
	}
}

// After a delay the missed beats are sent, but at most one for each session.
func TestPaceHeldUp(t *testing.T) {
	for _, test := range []struct {
		at    time.Duration
		beats int
		late  time.Duration
	}{
		{99 * time.Millisecond, 0, 0},
		{100 * time.Millisecond, 1, 0},
		{450 * time.Millisecond, 4, 350 * time.Millisecond},
		{time.Second, 10, 900 * time.Millisecond},
		{time.Hour, 10, time.Hour - 100*time.Millisecond},
	} {
		p := pace{every: time.Second, n: 10}
		seen := make(map[int]bool)
		late := p.due(test.at, func(session int) {
			if seen[session] {
				t.Errorf("after %v session %d beats twice", test.at, session)
			}
			seen[session] = true
		})
		if len(seen) != test.beats || late != test.late {
			t.Errorf("after %v: %d beats late by %v, want %d by %v", test.at, len(seen), late, test.beats, test.late)
		}
		if next := p.next(); next <= test.at || next > test.at+100*time.Millisecond {
			t.Errorf("after %v: next at %v", test.at, next)
		}
	}
}

// Long runs of many sessions don't overflow.
func TestPaceLong(t *testing.T) {
	p := pace{every: time.Hour, n: 1_000_000}
	for _, at := range []time.Duration{time.Hour - 1, 24 * time.Hour, 10_000 * time.Hour} {
		p.due(at, func(int) {})
		if next := p.next(); next <= at || next > at+time.Second {
			t.Errorf("after %v: next at %v", at, next)
		}
	}
}
