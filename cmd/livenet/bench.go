package main

import (
	"context"
	"strings"

	"github.com/livenet/livenet/internal/bench"
)

func benchCommand() *command {
	return &command{
		name:    "bench",
		summary: "measure what liveness costs, on this machine",
		about: `Each benchmark needs nothing but this machine and its loopback interface, and
ends with a table. A bar on stderr shows how far it has got. Interrupted, it ends
what it started and prints what it has.`,
		statuses: benchStatuses(),
		examples: `  livenet bench renew
  livenet bench echo --transport quic --json`,
		commands: []*command{
			benchRenewCommand(),
			benchEchoCommand(),
			benchHoldCommand(),
			benchChurnCommand(),
			benchStallCommand(),
			benchFailCommand(),
		},
	}
}

// benchStatuses are those of all benchmarks.
func benchStatuses() []status {
	return []status{
		{0, "measured"},
		{statusFailed, "it could not be measured, or what was measured failed"},
		{statusUsage, meaningUsage},
		{statusHurried, "interrupted: what there was has been printed, unless it was interrupted twice"},
	}
}

// A measurement is a benchmark that knows its settings: see package bench.
type measurement func(context.Context, bench.Progress) (*bench.Report, error)

const flagJSON = "json"

// benchmark completes c, whose name is the last word of the whole one, with
// what all benchmarks have in common. read reads its own flags; what is wrong
// with them is left in f.
func benchmark(c command, read func(f *flags) measurement) *command {
	word := c.name
	c.name = "bench " + word
	c.options = append(c.options, option{name: flagJSON, group: "Output", help: "one JSON object on stdout, and no table"})
	c.statuses = benchStatuses()
	c.variable = prefixed("bench-" + word)
	c.run = func(ctx context.Context, p *process, f *flags) error {
		f.noArguments()
		asJSON := f.on(flagJSON)
		measure := read(f)
		if f.err != nil {
			return f.err
		}
		return runBenchmark(ctx, p, c.name, asJSON, measure)
	}
	return &c
}

// runBenchmark measures and prints what was found, which may be a part of it:
// of a benchmark that was interrupted, or that failed half-way.
func runBenchmark(ctx context.Context, p *process, name string, asJSON bool, measure measurement) error {
	bar := bench.StartBar(p.stderr, p.bar(name))
	measured := make(chan struct{})
	go func() {
		select {
		case <-p.hurry: // the process ends soon, whatever becomes of this
			bar.Close()
		case <-measured:
		}
	}()
	report, err := measure(ctx, bar)
	close(measured)
	bar.Close()
	interrupted := ctx.Err() != nil
	if report != nil && (err == nil || interrupted || report.Rows() > 0) {
		report.Interrupted = interrupted
		if err := printReport(p, report, asJSON); err != nil {
			return err
		}
	}
	if interrupted {
		return &exit{status: statusHurried}
	}
	return err
}

func printReport(p *process, r *bench.Report, asJSON bool) error {
	if asJSON {
		return r.WriteJSON(p.stdout)
	}
	var b strings.Builder
	r.WriteText(&b) // a strings.Builder takes it all
	text := b.String()
	if !p.unicode() {
		text = strings.NewReplacer("µ", "u", "×", "x").Replace(text)
	}
	_, err := p.stdout.Write([]byte(text))
	return err
}

// bar says what a bar on stderr looks like.
func (p *process) bar(name string) bench.BarOptions {
	o := bench.BarOptions{Name: name, Color: p.colors(p.stderr), Unicode: p.unicode()}
	if _, ok := p.terminal(p.stderr); ok {
		o.Columns = func() int {
			columns, _ := p.terminal(p.stderr)
			return columns
		}
	}
	return o
}
