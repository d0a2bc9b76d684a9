package main

import (
	"encoding/xml"
	"fmt"
	"math"
	"strings"
)

// A plot is a bar chart: a horizontal bar for each row, as long as the
// figure's median, with a line that goes on to the worst. It brings its own
// background, and colours for a light and a dark page, because an image can't
// know what it stands on.
type plot struct {
	name   string
	family string
	title  string
	detail func(*results) string
	f      figure
	unit   scale
	more   figure // if set, the line ends at the worst of this one instead
	flaw   figure // if set, and above zero, said beside the value
	flawed string // as what
}

var renewalPlot = plot{
	name: "renewal", family: familyDeadlines, title: "Time to renew a deadline",
	detail: func(r *results) string {
		return fmt.Sprintf("random ones of %s (connections: %s); ns", number(r.Plan.Entries), number(r.Plan.Conns))
	},
	f: renewTime, unit: nanosecond,
}

var entryPlot = plot{
	name: "entry", family: familyDeadlines, title: "Memory of a deadline",
	detail: func(r *results) string {
		return fmt.Sprintf("live bytes per entry under load, of %s", number(r.Plan.Entries))
	},
	f: loadedBytes, unit: byteUnit,
}

var loadPlot = plot{
	name: "load", family: familyDeadlines, title: "Processor time of renewals",
	detail: func(r *results) string {
		return fmt.Sprintf("%% of a core at %s renewals a second, above the bare loop", number(r.Plan.Rate))
	},
	f: coreShare, unit: percentage,
}

var latenessPlot = plot{
	name: "lateness", family: familyDeadlines, title: "How late deadlines expire",
	detail: func(r *results) string {
		return fmt.Sprintf("%s expiries within %v under load; bar: p99, line: the latest of all runs; ms", number(r.Plan.Expiries), r.Plan.Spread)
	},
	f: lateP99, unit: millisecond, more: lateMax, flaw: early, flawed: "too early",
}

var residentPlot = plot{
	name: "resident", family: familyIdle, title: "Memory of an idle session",
	detail: func(r *results) string {
		return fmt.Sprintf("the server's resident KiB per session, of %s (QUIC: %s)", number(r.Plan.Sessions), number(r.Plan.QUICSessions))
	},
	f: beatenBytes, unit: kibibyte,
}

var beatPlot = plot{
	name: "beats", family: familyIdle, title: "Processor time of heartbeats",
	detail: func(r *results) string {
		return fmt.Sprintf("%% of a core, of the server, for 1,000 sessions that beat every %v", r.Plan.Beat)
	},
	f: beatShare, unit: percentage,
}

// The measures of a plot, in pixels.
const (
	plotWidth  = 760
	plotMargin = 20
	plotTop    = 74 // above the first bar: title, detail
	plotFoot   = 40 // below the last: the axis
	rowHeight  = 28
	barHeight  = 16
	labelWidth = 205 // names, to the left of the bars
	axisStart  = plotMargin + labelWidth
	letter     = 7.6 // the width of one, on average and not too tightly
)

const plotStyle = `
  text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328; }
  .title { font-size: 17px; font-weight: 600; }
  .detail, .tick { font-size: 12px; fill: #59636e; }
  .ours { font-weight: 600; }
  .value { stroke: #ffffff; stroke-width: 4px; paint-order: stroke; }
  .page { fill: #ffffff; stroke: #d1d9e0; }
  .grid { stroke: #d1d9e0; stroke-width: 1; }
  .bar { fill: #9aa4af; }
  .bar.ours { fill: #0969da; }
  .worst { stroke: #59636e; stroke-width: 1.5; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; }
    .detail, .tick { fill: #9198a1; }
    .value { stroke: #0d1117; }
    .page { fill: #0d1117; stroke: #3d444d; }
    .grid { stroke: #3d444d; }
    .bar { fill: #656c76; }
    .bar.ours { fill: #4493f8; }
    .worst { stroke: #d1d7e0; }
  }
`

// draw returns the plot as SVG.
func (p plot) draw(r *results) []byte {
	var rows []*row
	var values []float64
	longest := 0
	for _, w := range r.family(p.family) {
		if w.has(p.f) && w.Name != bareLoop {
			rows = append(rows, w)
			values = append(values, w.median(p.f)/p.unit.of, p.worst(w)/p.unit.of)
			longest = max(longest, len(p.value(w)))
		}
	}
	x := newAxis(values, plotWidth-axisStart-plotMargin-letter*float64(longest))
	bottom := plotTop + rowHeight*len(rows)
	height := bottom + plotFoot

	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">`+"\n", plotWidth, height, plotWidth, height)
	fmt.Fprintf(&b, "<title>%s</title>\n<style>%s</style>\n", escape(p.title), plotStyle)
	fmt.Fprintf(&b, `<rect class="page" x="0.5" y="0.5" width="%d" height="%d" rx="6"/>`+"\n", plotWidth-1, height-1)
	detail := p.detail(r)
	if x.log {
		detail += "; logarithmic"
	}
	write(&b, "title", "start", plotMargin, 32, p.title)
	write(&b, "detail", "start", plotMargin, 52, detail)
	for _, v := range x.ticks {
		at := axisStart + x.at(v)
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`+"\n", at, plotTop-6, at, bottom+4)
		write(&b, "tick", "middle", at, float64(bottom+20), fmt.Sprintf("%g %s", v, p.unit.name))
	}
	for i, w := range rows {
		p.bar(&b, x, w, float64(plotTop+rowHeight*i))
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

// worst is where the line of a row ends.
func (p plot) worst(w *row) float64 {
	if p.more != "" {
		return w.worst(p.more)
	}
	return w.worst(p.f)
}

// value is what is written beside a bar.
func (p plot) value(w *row) string {
	text := p.unit.show(w.median(p.f))
	if p.more != "" {
		text += ", " + p.unit.show(p.worst(w))
	}
	if p.flaw != "" && w.worst(p.flaw) > 0 {
		text += "; " + one.show(w.median(p.flaw)) + " " + p.flawed
	}
	return text
}

func (p plot) bar(b *strings.Builder, x axis, w *row, top float64) {
	middle := top + rowHeight/2
	ours := ""
	if w.Ours {
		ours = " ours"
	}
	value, worst := x.at(w.median(p.f)/p.unit.of), x.at(p.worst(w)/p.unit.of)
	fmt.Fprintf(b, `<rect class="bar%s" x="%d" y="%.1f" width="%.1f" height="%d"/>`+"\n", ours, axisStart, middle-barHeight/2, value, barHeight)
	from, to := axisStart+value, axisStart+worst
	if to-from > 1 {
		fmt.Fprintf(b, `<line class="worst" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`+"\n", from, middle, to, middle)
		fmt.Fprintf(b, `<line class="worst" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`+"\n", to, middle-4, to, middle+4)
	}
	write(b, "name"+ours, "end", axisStart-10, middle+4.5, w.Name)
	write(b, "value"+ours, "start", max(from, to)+8, middle+4.5, p.value(w))
}

func write(b *strings.Builder, class, anchor string, x, y float64, text string) {
	fmt.Fprintf(b, `<text class="%s" text-anchor="%s" x="%.1f" y="%.1f">%s</text>`+"\n", class, anchor, x, y, escape(text))
}

func escape(s string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(s))
	return b.String()
}

// An axis places values.
type axis struct {
	length   float64 // in pixels
	log      bool
	from, to float64
	ticks    []float64
}

// mostLinear is how many times the least value the greatest may be before the
// least would be hard to see.
const mostLinear = 25

func newAxis(values []float64, length float64) axis {
	least, most := math.Inf(1), 0.0
	for _, v := range values {
		most = max(most, v)
		if v > 0 {
			least = min(least, v)
		}
	}
	if most == 0 {
		return axis{length: length, to: 1, ticks: []float64{0}}
	}
	if most > mostLinear*least {
		// From a decade of its own below the least, so that it has a bar, too.
		x := axis{length: length, log: true, from: math.Pow(10, math.Floor(math.Log10(least))), to: most}
		if least < 1.5*x.from {
			x.from /= 10
		}
		for v := x.from; v <= most*1.0001; v *= 10 {
			x.ticks = append(x.ticks, v)
		}
		return x
	}
	x := axis{length: length, to: most}
	step := math.Pow(10, math.Floor(math.Log10(most)))
	for _, f := range []float64{0.2, 0.5, 1, 2} {
		if most/(step*f) <= 6 {
			step *= f
			break
		}
	}
	for i := 0; step*float64(i) <= most*1.0001; i++ {
		x.ticks = append(x.ticks, step*float64(i))
	}
	return x
}

// at is the length of a bar, in pixels.
func (x axis) at(v float64) float64 {
	v = min(max(v, x.from), x.to)
	share := (v - x.from) / (x.to - x.from)
	if x.log {
		share = math.Log(v/x.from) / math.Log(x.to/x.from)
	}
	return share * x.length
}
