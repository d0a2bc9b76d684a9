package main

import (
	"strings"
	"testing"
)

const before = `goos: linux
BenchmarkRenew/Lease-2      	645	    1.9 ns/op	  0 B/op	 0 allocs/op
BenchmarkLeaseMemory-2      	  1	  99 ns/op	 64.01 B/lease
BenchmarkLeaseMemory-2      	  1	  99 ns/op	 64.40 B/lease
BenchmarkGone-2             	  1	  99 ns/op	 1 allocs/op
PASS
`

func TestReport(t *testing.T) {
	for _, test := range []struct {
		name, after string
		ok          bool
		says        string
	}{
		{"same", before, true, "3 figures compared"},
		{"slower", strings.ReplaceAll(before, "1.9 ns", "900 ns"), true, "3 figures compared"},
		{"rounding", strings.ReplaceAll(before, "64.01", "64.10"), true, "3 figures"},
		{"other machine", strings.ReplaceAll(before, "-2 ", "-16 "), true, "3 figures"},
		{"bytes", strings.ReplaceAll(strings.ReplaceAll(before, "64.01", "72.0"), "64.40", "72.0"), false, "BenchmarkLeaseMemory B/lease: 64.01 before, 72 now: grown"},
		{"allocation", strings.ReplaceAll(before, " 0 allocs", " 1 allocs"), false, "BenchmarkRenew/Lease allocs/op: 0 before, 1 now: grown"},
		{"better", strings.ReplaceAll(before, " 1 allocs", " 0 allocs"), true, "BenchmarkGone allocs/op: 1 before, 0 now\n"},
		{"nothing", "PASS\n", false, "0 figures compared"},
		{"new", before + "BenchmarkNew-2 1 9 ns/op 7 allocs/op\n", true, "3 figures"},
	} {
		old, err := read(strings.NewReader(before))
		if err != nil {
			t.Fatal(err)
		}
		now, err := read(strings.NewReader(test.after))
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if ok := report(&out, old, now); ok != test.ok || !strings.Contains(out.String(), test.says) {
			t.Errorf("%s: %v, %q", test.name, ok, out.String())
		}
	}
}
