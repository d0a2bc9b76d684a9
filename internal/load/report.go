package load

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/livenet/livenet/internal/bench"
)

// setting is one of those a run was made with, as its report has it: a word, a
// number or a duration.
func setting(name string, v any) bench.Field {
	switch v.(type) {
	case int:
		return bench.Field{Head: name, Key: name, Kind: bench.Count, Value: v}
	case []float64:
		return bench.Field{Head: name, Key: name, Kind: bench.List, Value: v}
	case time.Duration:
		return bench.Field{Head: name, Key: name + "_s", Kind: bench.Seconds, Value: v}
	}
	return bench.Field{Head: name, Key: strings.ReplaceAll(name, "-", "_"), Value: v}
}

// or is v, or no value where it is not known.
func or(known bool, v any) any {
	if !known {
		return nil
	}
	return v
}

// tableOf is a table of how often there was what.
func tableOf(key, title, what, of string, counts map[string]int) *bench.Table {
	t := &bench.Table{Key: key, Title: title, Columns: []bench.Column{
		{Head: what, Key: what, Kind: bench.Text},
		{Head: of, Key: of, Kind: bench.Count},
	}}
	for _, k := range slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(counts[b]-counts[a], cmp.Compare(a, b))
	}) {
		t.Add(k, counts[k])
	}
	return t
}
