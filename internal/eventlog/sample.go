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

// A sampler limits the lines per second about sessions, streams and failures to accept, for
// the case that thousands end at once.
type sampler struct {
	most   int // lines a second; 0: all
	report func(map[string]int64)

	mu      sync.Mutex
	began   time.Time // beginning of the current second
	passed  int       // lines in it
	skipped map[string]int64
}

// pass reports whether e gets a line. Other events are counted, and reported in one line
// within a second.
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

// claimed is the prefix of a reason that the peer gave.
const claimed = "peer:"

// flush reports the skipped events.
func (s *sampler) flush() {
	s.mu.Lock()
	skipped := s.skipped
	s.skipped = nil
	s.mu.Unlock()
	if len(skipped) > 0 {
		s.report(skipped)
	}
}

// skippedLine writes how many events of each kind were skipped.
func (l *Log) skippedLine(skipped map[string]int64) {
	r := slog.NewRecord(time.Now(), slog.LevelInfo, "skipped", 0)
	total, counts := tally(skipped)
	r.AddAttrs(slog.Int64(keySkipped, total), slog.Group(keyOf, counts...))
	l.put(r)
}

// tally returns the sum of the counts, and the counts as attributes, the largest first.
func tally(of map[string]int64) (total int64, counts []any) {
	names := slices.Collect(maps.Keys(of))
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(of[b], of[a]), cmp.Compare(a, b)) })
	for _, name := range names {
		total += of[name]
		counts = append(counts, slog.Int64(name, of[name]))
	}
	return total, counts
}
