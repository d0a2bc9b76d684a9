package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
)

// A family is one page of peers, with its plots.
type family struct {
	name    string
	title   string
	unit    string // of what there are many
	note    string // what the rows' notes are about
	columns []column
	plots   []plot
}

const (
	familyDeadlines = "deadlines"
	familyIdle      = "idle"
)

var families = []family{
	{familyDeadlines, "Keeping deadlines, side by side", "entries", "a renewal", []column{
		{"per renewal", renewTime, nanosecond, true},
		{"allocations", renewAllocs, one, false},
		{"an entry", loadedBytes, byteUnit, true},
		{"load, of a core", coreShare, percentage, true},
		{"too early", early, one, false},
		{"by at most", earliest, millisecond, false},
		{"late p50", lateP50, millisecond, false},
		{"p99", lateP99, millisecond, true},
		{"max", lateMax, millisecond, true},
		{"never", lost, one, false},
	}, []plot{renewalPlot, entryPlot, loadPlot, latenessPlot}},
	{familyIdle, "Holding idle connections, side by side", "sessions", "a beat", []column{
		{"resident, opened", residentBytes, kibibyte, true},
		{"after beating", beatenBytes, kibibyte, true},
		{"heap", heapBytes, kibibyte, false},
		{"stacks", stackBytes, kibibyte, false},
		{"goroutines", goroutines, one, false},
		{"1,000 that beat, of a core", beatShare, percentage, true},
	}, []plot{residentPlot, beatPlot}},
}

// A column is a figure as tables and plots write it.
type column struct {
	title string
	f     figure
	unit  scale
	worst bool // with the worst beside it
}

// page writes a family's page in Markdown. Ours are set in bold.
func (f family) page(w io.Writer, r *results) {
	say := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	say("# %s\n", f.title)
	say("Written by a program; [how it measures, and how fair that is](../../internal/lab/README.md). Repeat it:\n")
	say("    go -C internal/lab run . peers --out ../../docs/peers\n")
	say("%d cores of an %s, %s, Linux %s, %s, over loopback. Medians of %d runs, with the worst beside them.\n",
		r.Machine.Cores, r.Machine.CPU, r.Machine.System, r.Machine.Kernel, r.Machine.Go, r.Plan.Runs)
	for _, p := range f.plots {
		say("![%s](%s.svg)\n", p.title, p.name)
	}
	head, line := "| | "+f.unit+" |", "|---|---:|"
	for _, c := range f.columns {
		head, line = head+" "+c.title+" |", line+"---:|"
		if c.worst {
			head, line = head+" worst |", line+"---:|"
		}
	}
	say("%s\n%s", head, line)
	rows := r.family(f.name)
	for _, row := range rows {
		name := row.Name
		if row.Ours {
			name = "**" + name + "**"
		}
		text := fmt.Sprintf("| %s | %s |", name, number(row.N))
		for _, c := range f.columns {
			text += " " + c.show(row, row.median(c.f)) + " |"
			if c.worst {
				text += " " + c.show(row, row.worst(c.f)) + " |"
			}
		}
		say("%s", text)
	}
	say("\nWhat %s is:\n", f.note)
	for _, row := range rows {
		if row.Note != "" {
			say("- %s: %s", row.Name, row.Note)
		}
	}
	say("\nVersions:\n")
	for _, path := range slices.Sorted(maps.Keys(r.Versions)) {
		say("- %s %s", path, r.Versions[path])
	}
}

func (c column) show(row *row, v float64) string {
	if !row.has(c.f) {
		return ""
	}
	return c.unit.show(v)
}

// A scale is how figures of a kind are written.
type scale struct {
	of   float64 // in what the results hold
	name string
}

var (
	nanosecond  = scale{1, "ns"}
	millisecond = scale{1, "ms"}
	byteUnit    = scale{1, "B"}
	kibibyte    = scale{1024, "KiB"}
	percentage  = scale{0.01, "%"}
	one         = scale{1, ""}
)

// show writes v with as many digits as are worth reading.
func (u scale) show(v float64) string {
	v /= u.of
	s := number(int(math.Round(v)))
	switch {
	case v == 0 || u == one && v == math.Trunc(v):
	case math.Abs(v) < 0.095:
		s = fmt.Sprintf("%.2f", v)
	case math.Abs(v) < 99.95:
		s = fmt.Sprintf("%.1f", v)
	}
	return strings.TrimSpace(s + " " + u.name)
}
