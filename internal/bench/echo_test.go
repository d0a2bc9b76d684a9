package bench

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"
)

// rowsOf are a table's rows by their transport and what is above it.
func rowsOf(t *Table) string {
	var names []string
	for _, row := range t.Rows {
		names = append(names, row[0].(string)+"/"+row[1].(Label).Key)
	}
	return strings.Join(names, " ")
}

func TestEcho(t *testing.T) {
	w := new(watch)
	r, err := Echo{Transports: EchoTransports, Codecs: EchoCodecs, Size: 100, For: 20 * time.Millisecond}.Run(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	table := r.Tables[0]
	want := "tcp/bare tcp/raw tcp/frame tls/bare tls/raw tls/frame yamux/bare yamux/raw yamux/frame quic/bare quic/raw quic/frame"
	if got := rowsOf(table); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, row := range table.Rows {
		bare := row[1].(Label).Key == "bare"
		for i, v := range row {
			if key := table.Columns[i].Key; (v == nil) != (bare && strings.HasSuffix(key, "ratio")) {
				t.Errorf("%v %v: %s is %v", row[0], row[1], key, v)
			}
		}
		p50, most := row[len(row)-5].(time.Duration), row[len(row)-1].(time.Duration)
		if p50 <= 0 || most < p50 {
			t.Errorf("%v %v: p50 %v, max %v", row[0], row[1], p50, most)
		}
	}
	if w.last < 0.99 {
		t.Errorf("in the end the bar stands at %v", w.last)
	}
}

// The longest messages get through: neither end waits for the other with its
// windows full.
func TestEchoOfTheLongest(t *testing.T) {
	r, err := Echo{Transports: EchoTransports, Codecs: EchoCodecs, Size: MostEchoSize, For: time.Millisecond}.Run(t.Context(), new(watch))
	if err != nil || r.Rows() != 12 {
		t.Errorf("%d rows, %v", r.Rows(), err)
	}
}

// Interrupted, it ends what it started, which TestMain sees to, and returns the
// rows that there are.
func TestEchoInterrupted(t *testing.T) {
	for _, transport := range EchoTransports {
		for _, test := range []struct {
			until string
			after int
			want  string
		}{
			{transport, 0, ""},
			{transport + ": bare", 0, ""},
			{transport + ": liveness, frame", 0, transport + "/bare"},
		} {
			ctx, cancel := context.WithCancel(t.Context())
			w := &watch{until: test.until, after: test.after, cancel: cancel}
			r, err := Echo{Transports: []string{transport}, Codecs: []string{"frame"}, Size: 1, For: 100 * time.Millisecond}.Run(ctx, w)
			if got := rowsOf(r.Tables[0]); got != test.want || err != nil {
				t.Errorf("%s: %s, %v", test.until, got, err)
			}
			cancel()
		}
	}
}

// The rows before a failure are kept.
func TestEchoFails(t *testing.T) {
	r, err := Echo{Transports: []string{"tcp", "pigeon"}, Codecs: []string{"raw"}, Size: 1, For: time.Millisecond}.Run(t.Context(), new(watch))
	if err == nil || !strings.HasPrefix(err.Error(), "pigeon: ") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
	if got, want := rowsOf(r.Tables[0]), "tcp/bare tcp/raw"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestRatios(t *testing.T) {
	if got, want := ratios([]float64{1, 4, 9}, []float64{2, 2}), []float64{0.5, 2}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
