package main

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCompare(t *testing.T) {
	var out bytes.Buffer
	if err := compare(t.Context(), &out, 20*time.Millisecond, 500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	table, _, _ := strings.Cut(out.String(), "\n\n")
	rows := strings.Split(table, "\n")[1:]
	names := []string{"tcp", "tcp+tls", "quic", "yamux"}
	if len(rows) != len(names) {
		t.Fatalf("%d rows, want %d:\n%s", len(rows), len(names), &out)
	}
	for i, row := range rows {
		cells := strings.Fields(row)
		if len(cells) != 7 || cells[0] != names[i] || cells[5] != "fixed-deadline" {
			t.Errorf("row of %s: %q", names[i], row)
			continue
		}
		if rate, err := strconv.ParseFloat(cells[2], 64); err != nil || rate <= 0 {
			t.Errorf("%s: a rate of %q echoes a second", names[i], cells[2])
		}
		for _, k := range []int{1, 3, 4, 6} {
			// The client may see the end a little before the server has recorded it.
			if d, err := time.ParseDuration(cells[k]); err != nil || k != 6 && d <= 0 {
				t.Errorf("%s: %q is no time", names[i], cells[k])
			}
		}
	}
}
