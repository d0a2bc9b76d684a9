package tcp

import (
	"math"
	"testing"
	"time"
)

// A deadline keeps its distance from now, with or without a monotonic reading, even if the
// wall clock has been set since the process started.
func TestDeadlineIgnoresWallClockChanges(t *testing.T) {
	const passed = 10 * time.Second
	now := time.Now()
	for _, test := range []struct {
		name string
		t    time.Time
		now  time.Time
		want int64
	}{
		{"Monotonic", now.Add(time.Second), now, int64(11 * time.Second)},
		{"Wall", now.Add(time.Second).Round(0), now, int64(11 * time.Second)},
		{"Stepped", time.Unix(1001, 0), time.Unix(1000, 0), int64(11 * time.Second)},
		{"Passed", now.Add(-time.Second), now, int64(9 * time.Second)},
		{"BeforeTheStart", now.Add(-passed), now, 1},
		{"LongAgo", time.Unix(1, 0), now, 1},
		{"FarAhead", now.AddDate(1000, 0, 0), now, math.MaxInt64},
	} {
		if got := deadlineAt(test.t, test.now, passed); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, time.Duration(got), time.Duration(test.want))
		}
	}
}
