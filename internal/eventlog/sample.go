package eventlog

import (
	"cmp"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/livenet/livenet/liveness"
)

// A sampler bounds how many sessions, streams and failures to accept have lines of
// their own: when ten thousand end at once, nobody reads ten thousand lines.
type sampler struct {
	most int // lines a second; 0: all
	tell func(map[string]int64)

	mu      sync.Mutex
	began   time.Time // the second
	passed  int       // in it
	skipped map[string]int64
}

// pass reports whether e is to have a line. Those that have none are counted,
// and told of in one line, within a second.
func (s *sampler) pass(e liveness.Event) bool {
	if s.most <= 0 || e.What != liveness.Opened && e.What != liveness.Closed && e.What != liveness.AcceptFailed {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Time.Sub(s.began) >= time.Second {
		s.began, s.passed = e.Time, 0
	}
	if s.passed < s.most {
		s.passed++
		return true
	}
	if s.skipped == nil {
		s.skipped = make(map[string]int64)
		time.AfterFunc(time.Second, s.flush)
	}
	what := e.What.String()
	if e.End != nil {
		what = e.End.Reason.String()
		if e.End.Claimed() {
			what = claimed + what
		}
	}
	s.skipped[what]++
	return false
}

// claimed goes before a reason that the peer has named.
const claimed = "peer:"

// flush tells of what was skipped.
func (s *sampler) flush() {
	s.mu.Lock()
	skipped := s.skipped
	s.skipped = nil
	s.mu.Unlock()
	if len(skipped) > 0 {
		s.tell(skipped)
	}
}

// skippedLine says how many lines there were not, and of what.
func (l *Log) skippedLine(skipped map[string]int64) {
	r := slog.NewRecord(time.Now(), slog.LevelInfo, "skipped", 0)
	total, counts := tally(skipped)
	r.AddAttrs(slog.Int64(keySkipped, total), slog.Group(keyOf, counts...))
	l.put(r)
}

// tally returns the sum of counts, and them as attributes, the largest first.
func tally(of map[string]int64) (total int64, counts []any) {
	names := slices.Collect(maps.Keys(of))
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(of[b], of[a]), cmp.Compare(a, b)) })
	for _, name := range names {
		total += of[name]
		counts = append(counts, slog.Int64(name, of[name]))
	}
	return total, counts
}
