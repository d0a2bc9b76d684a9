package load

import (
	"time"

	"github.com/livenet/livenet/internal/bench"
)

func (r *failRun) report() *bench.Report {
	rep := &bench.Report{Bench: "fail", Settings: []bench.Field{
		setting("transport", r.Transport),
		setting("io", r.IO),
		setting("sessions", r.Sessions),
		setting("neighbours", r.Neighbours),
		setting("timeout", r.Timeout),
		setting("beat", r.Beat),
		setting("peers", bench.OneOrAll(r.Ways, FailWays)),
		setting("slow", r.Slow),
	}}
	rep.Tables = []*bench.Table{r.failuresTable(), r.connectingTable(), r.reasonsTable()}
	return rep
}

func (r *failRun) failuresTable() *bench.Table {
	t := &bench.Table{Key: "rows", Columns: []bench.Column{
		{Head: "peers", Key: "way", Kind: bench.Text},
		{Head: "told of", Key: "told", Kind: bench.Count},
		{Head: "all within", Key: "within_ms", Kind: bench.Millis},
		{Head: "last after", Key: "last_ms", Kind: bench.Millis},
		{Head: "a second", Key: "ends_per_s", Kind: bench.Count},
		{Head: "fastest", Key: "fastest_per_s", Kind: bench.Count},
		{Head: "decided late", Key: "decided_late_ms", Kind: bench.Millis, Break: true},
		{Head: "closed late", Key: "closed_late_ms", Kind: bench.Millis},
		{Head: "neighbours lost", Key: "neighbours_lost", Kind: bench.Count},
		{Head: "heap before", Key: "heap_before_bytes", Kind: bench.Size, Break: true},
		{Head: "at most", Key: "heap_most_bytes", Kind: bench.Size},
		{Head: "log lines", Key: "log_lines", Kind: bench.Count},
	}}
	for _, f := range r.failures {
		e := f.ends
		took := time.Duration(e.Last - e.First)
		known := e.Told > 0
		expired := known && e.Late > 0
		pace := float64(e.Told) / max(took.Seconds(), 1e-9)
		// An average counts the ends at both of its edges, and a span of fastSpan
		// one of them: over few ends that makes the average the greater one.
		fastest := max(pace, float64(e.Fastest)/fastSpan.Seconds())
		t.Add(f.way, e.Told, or(known, took), or(known, max(0, time.Unix(0, e.Last).Sub(f.due))),
			or(took > 0, pace), or(took >= fastSpan, fastest),
			or(expired, e.Late), or(expired, e.Closed), f.neighbours, float64(e.Base), float64(e.Peak), e.Lines)
	}
	return t
}

// connectingTable says how those got on who wanted to connect.
func (r *failRun) connectingTable() *bench.Table {
	t := &bench.Table{Key: "connecting", Title: "Connecting", Columns: append([]bench.Column{
		{Head: "peers", Key: "way", Kind: bench.Text},
		{Head: "", Key: "when", Kind: bench.Text},
		{Head: "a second", Key: "connections_per_s", Kind: bench.Count},
		{Head: "failed", Key: "failed", Kind: bench.Count},
	}, bench.Quantiles(false)...)}
	for _, f := range r.failures {
		for _, when := range []struct {
			name string
			churning
		}{{"usual", f.usual}, {"meanwhile", f.meantime}} {
			row := []any{f.way, when.name, float64(when.Cycles) / max(when.For.Seconds(), 1e-9), sum(when.Failed)}
			for _, l := range when.Latencies {
				if l.What == phases[phaseConnect] {
					for _, d := range l.Values {
						row = append(row, d)
					}
				}
			}
			for len(row) < len(t.Columns) {
				row = append(row, nil)
			}
			t.Add(row...)
		}
	}
	return t
}

func (r *failRun) reasonsTable() *bench.Table {
	t := &bench.Table{Key: "ends", Title: "Sessions that ended, those that connected meanwhile included", Columns: []bench.Column{
		{Head: "peers", Key: "way", Kind: bench.Text},
		{Head: "reason", Key: "reason", Kind: bench.Text},
		{Head: "sessions", Key: "sessions", Kind: bench.Count},
	}}
	for _, f := range r.failures {
		for _, row := range tableOf("", "", "", "", f.reasons).Rows {
			if row[1].(int) > 0 {
				t.Add(f.way, row[0], row[1])
			}
		}
	}
	return t
}
