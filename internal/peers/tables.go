package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// A family is a part of the report: a page with its plots.
type family struct {
	name  string
	table func(*report) string
	plots []plot
}

const (
	familyDeadlines = "deadlines"
	familyIdle      = "idle"
)

var families = []family{
	{familyDeadlines, deadlinesPage, []plot{renewalPlot, entryPlot, loadPlot, latenessPlot}},
	{familyIdle, idlePage, []plot{residentPlot, beatPlot}},
}

// A page is Markdown in the making.
type page struct{ strings.Builder }

func (p *page) say(format string, args ...any) { fmt.Fprintf(p, format, args...) }

func (p *page) header(r *report, title, what string) {
	p.say("# %s\n\n", title)
	p.say("Written by a program; [how it measures, and how fair that is](../../internal/peers/README.md). Repeat it:\n\n")
	p.say("    cd internal/peers && go run . -out ../../docs/peers\n\n")
	p.say("%s cores of an %s, %s, Linux %s, %s, over loopback. ", number(r.Machine.Cores), r.Machine.CPU, r.Machine.System, r.Machine.Kernel, r.Machine.Go)
	p.say("Medians of %s, with the worst beside them.\n\n%s\n\n", runs(r.Plan.Runs), what)
}

func runs(n int) string {
	if n == 1 {
		return "one run"
	}
	return number(n) + " runs"
}

func (p *page) picture(q plot) { p.say("![%s](%s.svg)\n\n", q.title, q.name) }

// A column is a figure as tables and plots write it.
type column struct {
	title string
	f     figure
	unit  unit
	worst bool // with the worst beside it
}

// table writes those rows that have any of the columns. Ours are set in bold.
// The first column says of how many, if it has a title.
func (p *page) table(rows []*row, ofMany string, columns ...column) {
	p.say("| |")
	if ofMany != "" {
		p.say(" %s |", ofMany)
	}
	for _, c := range columns {
		p.say(" %s |", c.title)
		if c.worst {
			p.say(" worst |")
		}
	}
	p.say("\n|---|")
	if ofMany != "" {
		p.say("---:|")
	}
	p.say("%s\n", strings.Repeat("---:|", len(columns)+worsts(columns)))
	for _, w := range rows {
		if !slices.ContainsFunc(columns, func(c column) bool { return w.has(c.f) }) {
			continue
		}
		name := w.Name
		if w.Ours {
			name = "**" + name + "**"
		}
		p.say("| %s |", name)
		if ofMany != "" {
			p.say(" %s |", number(w.N))
		}
		for _, c := range columns {
			shown := []float64{w.median(c.f)}
			if c.worst {
				shown = append(shown, w.worst(c.f))
			}
			for _, v := range shown {
				if w.has(c.f) {
					p.say(" %s |", c.unit.show(v))
				} else {
					p.say(" |")
				}
			}
		}
		p.say("\n")
	}
	p.say("\n")
}

func worsts(columns []column) (n int) {
	for _, c := range columns {
		if c.worst {
			n++
		}
	}
	return n
}

func deadlinesPage(r *report) string {
	rows := r.family(familyDeadlines)
	if len(rows) == 0 {
		return ""
	}
	var p page
	n := r.Plan
	p.header(r, "Keeping deadlines, side by side", fmt.Sprintf(
		"%s entries of %v, except where each takes a connection: %s then.",
		number(n.Entries), n.Timeout, number(n.Conns)))

	p.say("## A renewal\n\n")
	p.picture(renewalPlot)
	p.say("%s renewals, one after the other, of entries chosen at random. Bytes are those of live objects, "+
		"callbacks included and the caller's own record not: once when all have just been granted, and once after %v of the load below. "+
		"A connection has its deadline's timer in its poll descriptor, which is not on the heap.\n\n",
		number(n.Renewals), n.Timeout+n.Settle+n.Window)
	p.table(rows, "entries",
		column{"per renewal", renewTime, nanosecond, true},
		column{"allocations", renewAllocs, one, false},
		column{"bytes per entry", entryBytes, byteUnit, true},
		column{"after the load", loadedBytes, byteUnit, true},
	)
	p.picture(entryPlot)

	p.say("## %s renewals a second\n\n", number(n.Rate))
	p.picture(loadPlot)
	p.say("Processor time of the whole process, garbage collection included, over %v, above what the bare loop takes that makes the load. "+
		"It is measured when the first deadlines of all entries have passed, so that work that was put off is in it.\n\n", n.Window)
	p.table(rows, "",
		column{"share of a core", coreShare, percent, true},
	)

	p.say("## Expiries\n\n")
	p.picture(latenessPlot)
	p.say("%s entries more, renewed once and then left to expire within %v, while that load goes on (%s of connections). "+
		"Lateness is that of the callback, against the moment just before the last renewal.\n\n",
		number(n.Expiries), n.Spread, number(min(n.Expiries, n.Conns)))
	p.table(rows, "",
		column{"too early", early, one, true},
		column{"by at most", earliest, millisecond, true},
		column{"p50", lateP50, millisecond, true},
		column{"p99", lateP99, millisecond, true},
		column{"max", lateMax, millisecond, true},
		column{"never", lost, one, false},
	)
	p.unkept(rows, rateKept, "of these renewals were made, at the median: its share of a core is that of fewer")
	p.versions(r)
	p.notes(rows, "What a renewal is")
	return p.String()
}

func idlePage(r *report) string {
	rows := r.family(familyIdle)
	if len(rows) == 0 {
		return ""
	}
	var p page
	n := r.Plan
	p.header(r, "Holding idle connections, side by side", fmt.Sprintf(
		"%s sessions to each server, %s over QUIC; every session has a stream, on which it has been answered once.",
		number(n.Sessions), number(n.QUICSessions)))

	p.say("## Memory\n\n")
	p.picture(residentPlot)
	p.say("What the server's resident memory grows by with each session, after a collection that has given back what is free, "+
		"and the same after %v of beats. Of the latter, live heap and stacks. The kernel's own memory for sockets is not in it.\n\n", n.Settle+n.Window)
	p.table(rows, "sessions",
		column{"resident, opened", residentBytes, kibibyte, true},
		column{"after beating", beatenBytes, kibibyte, true},
		column{"heap", heapBytes, kibibyte, true},
		column{"stacks", stackBytes, kibibyte, true},
		column{"goroutines", goroutines, one, false},
	)

	p.say("## Processor time\n\n")
	p.picture(beatPlot)
	p.say("The server's, while every session beats every %v, over %v, scaled to 1,000 sessions.\n\n", n.Beat, n.Window)
	p.table(rows, "",
		column{"share of a core", beatShare, percent, true},
	)
	p.unkept(rows, beatsAnswered, "of the beats that were due were answered, at the median: its share of a core is that of fewer")
	p.versions(r)
	p.notes(rows, "What a beat is")
	return p.String()
}

// unkept says of those rows that did not do what their figures are taken for.
func (p *page) unkept(rows []*row, f figure, what string) {
	const enough = 0.95
	for _, w := range rows {
		if kept := w.median(f); w.has(f) && kept < enough {
			p.say("**%s**: only %s %s.\n\n", w.Name, percent.show(kept), what)
		}
	}
}

func (p *page) versions(r *report) {
	p.say("## Versions\n\n")
	for _, path := range slices.Sorted(maps.Keys(r.Versions)) {
		p.say("- %s %s\n", path, r.Versions[path])
	}
	p.say("\n")
}

func (p *page) notes(rows []*row, title string) {
	p.say("## %s\n\n", title)
	for _, w := range rows {
		if w.Note != "" {
			p.say("- %s: %s\n", w.Name, w.Note)
		}
	}
}

// number is n with its thousands set apart.
func number(n int) string {
	if n < 0 {
		return "-" + number(-n)
	}
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// A unit is how figures of a kind are written.
type unit struct {
	of   float64 // in what the report holds
	name string
}

var (
	nanosecond  = unit{1, "ns"}
	millisecond = unit{1, "ms"}
	byteUnit    = unit{1, "B"}
	kibibyte    = unit{1024, "KiB"}
	percent     = unit{0.01, "%"}
	one         = unit{1, ""}
)

// show writes v with as many digits as are worth reading.
func (u unit) show(v float64) string {
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
