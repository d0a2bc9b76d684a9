package bench

import (
	"runtime"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// HeapBytes is how much memory is in use on the heap, garbage excluded.
func HeapBytes() uint64 {
	// The second run frees what finalizers and cleanups of the first let go.
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Median is the median of figures; 0 if there are none.
func Median(figures []float64) float64 {
	if len(figures) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(figures))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// A Latency is the distribution of a time: to three digits, from a microsecond
// or less to a minute. It is for one goroutine at a time.
type Latency struct{ h *hdrhistogram.Histogram }

// longest is the longest time that a Latency tells from longer ones.
const longest = time.Minute

// NewLatency is an empty distribution.
func NewLatency() *Latency {
	return &Latency{hdrhistogram.New(1, int64(longest), 3)}
}

// Record adds a time.
func (l *Latency) Record(d time.Duration) {
	l.h.RecordValue(int64(min(max(d, 0), longest))) // in range, so there is no error
}

// Merge adds all of m.
func (l *Latency) Merge(m *Latency) { l.h.Merge(m.h) }

// Count is how many times there are.
func (l *Latency) Count() int64 { return l.h.TotalCount() }

// Quantile is the time that a share of all do not exceed: 0.99 is the 99th
// percentile, and 1 the longest.
func (l *Latency) Quantile(share float64) time.Duration {
	return time.Duration(l.h.ValueAtQuantile(100 * share))
}

// Quantiles are the columns of a table for a distribution, with Break at the
// first of them if that is wanted. Their values are [Latency.Values].
func Quantiles(brk bool) []Column {
	columns := []Column{
		{Head: "p50", Key: "p50_us", Kind: Micros, Break: brk},
		{Head: "p90", Key: "p90_us", Kind: Micros},
		{Head: "p99", Key: "p99_us", Kind: Micros},
		{Head: "p99.9", Key: "p999_us", Kind: Micros},
		{Head: "max", Key: "max_us", Kind: Micros},
	}
	return columns
}

// Values are the values for [Quantiles]; none are known of no times.
func (l *Latency) Values() []any {
	values := make([]any, 0, 5)
	for _, share := range []float64{0.5, 0.9, 0.99, 0.999, 1} {
		if l.Count() == 0 {
			values = append(values, nil)
			continue
		}
		values = append(values, l.Quantile(share))
	}
	return values
}
