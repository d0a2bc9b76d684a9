package yamux

import (
	"testing"
	"time"
)

func TestPingLimit(t *testing.T) {
	const rate = int(time.Second / pingInterval)
	start := time.Unix(1_000_000, 0)
	for _, test := range []struct {
		name  string
		pings int
		every time.Duration
		want  int // that pass
	}{
		{"a burst", pingBurst, 0, pingBurst},
		{"more than a burst", 2 * pingBurst, 0, pingBurst},
		{"at the rate, for an hour", 3600 * rate, pingInterval, 3600 * rate},
		{"at twice the rate, for a second", 2 * rate, pingInterval / 2, 2 * rate},
		{"at twice the rate, for ever", 2000, pingInterval / 2, 2*pingBurst - 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			var w wire
			passed := 0
			for i := range test.pings {
				if !w.takePing(start.Add(time.Duration(i) * test.every)) {
					break // and that is the end of the session
				}
				passed++
			}
			if passed < test.want-1 || passed > test.want+1 {
				t.Errorf("%d of %d pings passed, want %d", passed, test.pings, test.want)
			}
		})
	}
}
