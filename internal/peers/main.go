// Command peers runs livenet and what one would use instead side by side, in
// one go, and writes the tables and plots of docs/peers:
//
//	go run . -out ../../docs/peers
//
// There are two families. One keeps a million deadlines: in this process, one
// way of keeping them after the other. The other holds idle connections: each
// kind of server in a process of its own, with a client in another. Every
// figure is taken -runs times, in turns, and given as the median with the worst.
//
// It needs Linux: it reads /proc and its client of sockets is an epoll loop.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"time"
)

func main() {
	if task := os.Getenv(childEnv); task != "" {
		if err := child(task, os.Stdin, os.NewFile(answersFD, "answers")); err != nil {
			fmt.Fprintln(os.Stderr, "peers:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	switch err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// A plan is how much is measured. Reports carry the one that they come from.
type plan struct {
	Runs int `json:"runs"`

	// Deadlines.
	Entries  int           `json:"entries"`   // deadlines kept at once
	Conns    int           `json:"conns"`     // the same where each takes a connection
	Timeout  time.Duration `json:"timeout"`   // of each entry
	Renewals int           `json:"renewals"`  // timed one after the other
	Rate     int           `json:"rate"`      // renewals a second, as a load
	Window   time.Duration `json:"window"`    // for which processor time is taken
	Expiries int           `json:"expiries"`  // entries that are left to expire
	Spread   time.Duration `json:"expire-in"` // the time within which they do

	// Idle connections.
	Sessions     int           `json:"sessions"`
	QUICSessions int           `json:"quic-sessions"`
	Beat         time.Duration `json:"beat"`   // the interval of each session's beats
	Settle       time.Duration `json:"settle"` // before anything is measured
}

var (
	full = plan{
		Runs:    5,
		Entries: 1_000_000, Conns: 4000, Timeout: 30 * time.Second, Renewals: 1 << 21,
		Rate: 100_000, Window: 8 * time.Second, Expiries: 10_000, Spread: time.Second,
		Sessions: 4000, QUICSessions: 1000, Beat: time.Second, Settle: 2 * time.Second,
	}
	// short shows that everything works; its figures mean nothing.
	short = plan{
		Runs:    1,
		Entries: 2000, Conns: 50, Timeout: 200 * time.Millisecond, Renewals: 1 << 13,
		Rate: 100_000, Window: 100 * time.Millisecond, Expiries: 100, Spread: 100 * time.Millisecond,
		Sessions: 40, QUICSessions: 20, Beat: time.Second, Settle: 50 * time.Millisecond,
	}
)

// options are the command line.
type options struct {
	plan
	out, from, family string
	match             *regexp.Regexp
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := new(options)
	f := flag.NewFlagSet("peers", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.out, "out", "", "write tables, plots and raw results to this `folder`, instead of tables to standard output")
	f.StringVar(&o.from, "from", "", "measure nothing: take the results of this `file` (results.json of an earlier run)")
	f.StringVar(&o.family, "family", "", "only this `family`: deadlines or idle")
	match := f.String("match", "", "only what this `regexp` matches the name of")
	little := f.Bool("short", false, "a few seconds, to see that it works; the figures mean nothing")
	runs := f.Int("runs", full.Runs, "take every figure so `often`")
	entries := f.Int("entries", full.Entries, "deadlines kept at once")
	conns := f.Int("conns", full.Conns, "deadlines kept at once where each takes a connection; four descriptors each")
	sessions := f.Int("sessions", full.Sessions, "idle sessions over TCP")
	quic := f.Int("quic-sessions", full.QUICSessions, "idle sessions over QUIC")
	beat := f.Duration("beat", full.Beat, "the `interval` of each session's beats; gRPC takes 1s at least")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	o.plan = full
	if *little {
		o.plan = short
	}
	f.Visit(func(given *flag.Flag) {
		switch given.Name {
		case "runs":
			o.Runs = *runs
		case "entries":
			o.Entries = *entries
		case "conns":
			o.Conns = *conns
		case "sessions":
			o.Sessions = *sessions
		case "quic-sessions":
			o.QUICSessions = *quic
		case "beat":
			o.Beat = *beat
		}
	})
	var err error
	if o.match, err = regexp.Compile(*match); err != nil {
		return nil, err
	}
	switch {
	case f.NArg() > 0:
		return nil, fmt.Errorf("what is %q? There are flags only", f.Arg(0))
	case o.family != "" && o.family != familyDeadlines && o.family != familyIdle:
		return nil, fmt.Errorf("-family is %q: it must be %s or %s", o.family, familyDeadlines, familyIdle)
	case min(o.Runs, o.Entries, o.Conns, o.Sessions, o.QUICSessions) < 1:
		return nil, errors.New("there must be at least one of everything")
	case min(o.Sessions, o.QUICSessions) < leastSessions:
		return nil, fmt.Errorf("there must be at least %d sessions: some come first, and don't count", leastSessions)
	case o.Beat < time.Second:
		return nil, errors.New("-beat must be 1s at least: gRPC takes no less")
	}
	return o, nil
}

// quiet is the load average up to which a machine is taken to be idle.
const quiet = 0.5

// run is the command.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if o.from != "" {
		r, err := load(o.from)
		if err != nil {
			return err
		}
		return deliver(r, o.out, stdout)
	}
	r := newReport(o.plan)
	p := newProgress(stderr)
	if l := r.Machine.Load; l > quiet {
		p.say("the load average is %.1f: this machine is not quiet, and the figures will show it", l)
	}
	err = measure(ctx, o, r, p)
	if ctx.Err() != nil {
		// What there is goes to the terminal, and not over the results of a run
		// that was complete.
		p.say("interrupted: this is what there is")
		o.out, err = "", nil
	}
	if len(r.Rows) == 0 {
		return err
	}
	return errors.Join(err, deliver(r, o.out, stdout))
}

// measure fills r, run by run, so that whatever disturbs this machine for a
// while spoils one sample of many rows and not all samples of one.
func measure(ctx context.Context, o *options, r *report, p *progress) error {
	for i := range o.Runs {
		p.run = fmt.Sprintf("run %d of %d", i+1, o.Runs)
		if o.family != familyIdle {
			if err := measureDeadlines(ctx, o, r, p); err != nil {
				return err
			}
		}
		if o.family != familyDeadlines {
			if err := measureIdle(ctx, o, r, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// deliver writes a report to a folder, or its tables to stdout.
func deliver(r *report, folder string, stdout io.Writer) error {
	if folder == "" {
		for _, f := range families {
			if _, err := io.WriteString(stdout, f.table(r)); err != nil {
				return err
			}
		}
		return nil
	}
	files := make(map[string][]byte)
	raw, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	files["results.json"] = append(raw, '\n')
	for _, f := range families {
		if len(r.family(f.name)) == 0 {
			continue
		}
		files[f.name+".md"] = []byte(f.table(r))
		for _, p := range f.plots {
			files[p.name+".svg"] = p.draw(r)
		}
	}
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// progress tells on standard error what goes on.
type progress struct {
	w     io.Writer
	start time.Time
	run   string
}

func newProgress(w io.Writer) *progress { return &progress{w: w, start: time.Now()} }

func (p *progress) say(format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	if p.run != "" {
		what = p.run + ": " + what
	}
	fmt.Fprintf(p.w, "%7.1fs  %s\n", time.Since(p.start).Seconds(), what)
}

// pause sleeps, and reports false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
