package load

import (
	"testing"
	"time"
)

// The fastest of what takes no longer than the time that is looked at is not
// known, and of anything else it is no less than the average.
func TestFailFastest(t *testing.T) {
	for _, test := range []struct {
		name                string
		told, inFastestSpan int
		took                time.Duration
		pace, fastest       any
	}{
		{"None", 0, 0, 0, nil, nil},
		{"One", 1, 1, 0, nil, nil},
		{"Short", 200, 200, 20 * time.Millisecond, 10_000.0, nil},
		{"AsLong", 200, 199, 100 * time.Millisecond, 2000.0, 2000.0},
		{"Even", 11, 1, time.Second, 11.0, 11.0},
		{"Long", 10_000, 4000, 400 * time.Millisecond, 25_000.0, 40_000.0},
	} {
		t.Run(test.name, func(t *testing.T) {
			first := time.Now()
			f := &failure{way: FailSilent, ends: endings{
				Told: test.told, Fastest: test.inFastestSpan, First: first.UnixNano(), Last: first.Add(test.took).UnixNano(),
			}}
			got := row(t, (&failRun{Fail: new(Fail), failures: []*failure{f}}).report(), "rows", 0)
			if got["ends_per_s"] != test.pace || got["fastest_per_s"] != test.fastest {
				t.Errorf("%v a second, fastest %v, want %v and %v", got["ends_per_s"], got["fastest_per_s"], test.pace, test.fastest)
			}
		})
	}
}
