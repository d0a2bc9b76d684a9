// Command lab measures what livenet costs and what it withstands, alone and compared with
// alternatives:
//
//	go -C internal/lab run . hold --transport tcp
//
// Each experiment is bounded in number and time, prints a table (or JSON), and exits with 1 if
// livenet broke a promise: a session that beat was closed, a lease expired early, or something
// was left over. It needs Linux.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/livenet/livenet/liveness"
)

func main() {
	if os.Getenv(workerEnv) != "" {
		if err := work(os.Stdin, os.NewFile(answersFD, "answers")); err != nil {
			fmt.Fprintln(os.Stderr, "worker:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args, os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, errInterrupted):
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

// A lab runs experiments.
type lab struct {
	*progress // nil: shows nothing
	stderr    io.Writer
}

// run is the command.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
	descriptors() // raises the limit
	app := &cli.App{
		Name:           "lab",
		Usage:          "measure what livenet costs and what it withstands",
		Commands:       []*cli.Command{renewCommand(), echoCommand(), holdCommand(), churnCommand(), stallCommand(), failCommand(), detectCommand(), peersCommand()},
		Writer:         stdout,
		ErrWriter:      stderr,
		Metadata:       map[string]any{"stdout": stdout, "stderr": stderr},
		ExitErrHandler: func(*cli.Context, error) {},
		HideHelp:       true,
		Flags:          []cli.Flag{helpFlag()},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return fmt.Errorf("unknown experiment %q: see --help", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
	}
	return app.RunContext(ctx, args)
}

// helpFlag is a flag of our own: the library's is one object for the whole process,
// which tests that run at once would all write to.
func helpFlag() cli.Flag {
	return &cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "show this"}
}

// experiment adds to a command what all experiments have.
func experiment(c cli.Command, measure func(*cli.Context, *lab) (output, error)) *cli.Command {
	c.HideHelp = true
	c.Flags = append(c.Flags, helpFlag(),
		&cli.BoolFlag{Name: "json", Usage: "print one JSON object, and no table"},
		&cli.BoolFlag{Name: "small", Usage: "run so little that it takes seconds; the figures mean nothing"})
	c.Action = func(ctx *cli.Context) error {
		if ctx.Bool("help") {
			return cli.ShowSubcommandHelp(ctx)
		}
		if ctx.Args().Present() {
			return fmt.Errorf("unexpected argument %q", ctx.Args().First())
		}
		stdout, stderr := ctx.App.Metadata["stdout"].(io.Writer), ctx.App.Metadata["stderr"].(io.Writer)
		l := &lab{progress: startProgress(stderr, c.Name), stderr: stderr}
		found, err := measure(ctx, l)
		l.progress.close()
		interrupted := ctx.Err() != nil // what there is by now is printed
		write := found.text
		if ctx.Bool("json") {
			write = found.json
		}
		err = errors.Join(err, write(stdout))
		if interrupted {
			return errInterrupted
		}
		return err
	}
	return &c
}

// count is a flag of 1 (or least) to most.
func count(name string, def, least, most int, usage string) cli.Flag {
	return &cli.IntFlag{Name: name, Value: def, Usage: usage, Action: func(_ *cli.Context, n int) error {
		if n < least || n > most {
			return fmt.Errorf("--%s %d: want %d to %d", name, n, least, most)
		}
		return nil
	}}
}

const longest = time.Hour // of any time that can be asked for

func span(name string, def time.Duration, usage string) cli.Flag {
	return &cli.DurationFlag{Name: name, Value: def, Usage: usage, Action: func(_ *cli.Context, d time.Duration) error {
		if d < 10*time.Millisecond || d > longest {
			return fmt.Errorf("--%s %v: want 10ms to %v", name, d, longest)
		}
		return nil
	}}
}

func choice(name, usage string, names ...string) cli.Flag {
	return &cli.StringFlag{Name: name, Value: names[0], Usage: usage + ": " + strings.Join(names, ", "), Action: func(_ *cli.Context, s string) error {
		if !slices.Contains(names, s) {
			return fmt.Errorf("--%s %s: there are %s", name, s, strings.Join(names, ", "))
		}
		return nil
	}}
}

// Flags that several experiments have.

func transportFlag() cli.Flag { return choice("transport", "what sessions are", transports...) }
func codecFlag() cli.Flag     { return choice("codec", "how they speak", "frame", "raw") }
func beatFlag() cli.Flag {
	f := span("beat", 0, "each session beats once in it").(*cli.DurationFlag)
	f.DefaultText = "a quarter of the timeout"
	return f
}
func ioFlag() cli.Flag {
	return choice("io", "what waits for a session's next bytes at the server", ios...)
}

// countOf is a flag's value, or a small one with --small unless the flag is given.
func countOf(c *cli.Context, name string, small int) int {
	if c.Bool("small") && !c.IsSet(name) {
		return small
	}
	return c.Int(name)
}

func spanOf(c *cli.Context, name string, small time.Duration) time.Duration {
	if c.Bool("small") && !c.IsSet(name) {
		return small
	}
	return c.Duration(name)
}

// bounded is an error for more sessions than a transport may be asked for, and
// for raw where clients beat in frames.
func bounded(transport, codec string, sessions int) error {
	if most := mostSessions[transport]; sessions > most {
		return fmt.Errorf("--sessions %d: %s may have %d", sessions, transport, most)
	}
	if codec == "raw" && transport != "tcp" {
		return errors.New("--codec raw is for tcp: other clients beat in frames")
	}
	return nil
}

// beatOf is --beat, and a quarter of the timeout without it.
func beatOf(c *cli.Context, timeout time.Duration) (time.Duration, error) {
	beat := timeout / 4
	if c.IsSet("beat") {
		beat = c.Duration("beat")
	}
	if timeout <= beat {
		return 0, fmt.Errorf("a timeout of %v must be longer than a beat of %v", timeout, beat)
	}
	return beat, nil
}

func renewCommand() *cli.Command {
	return experiment(cli.Command{
		Name: "renew", Usage: "keep many deadlines: leases, timers, a timing wheel, SetReadDeadline",
		Flags: []cli.Flag{
			count("entries", 1_000_000, 1, 2_000_000, "deadlines"),
			&cli.StringFlag{Name: "match", Usage: "only ways that `REGEXP` matches"},
			&cli.BoolFlag{Name: "stalled", Usage: "hold the engine's clock up, eight times, while leases expire"},
		},
	}, func(c *cli.Context, l *lab) (output, error) {
		match, err := regexp.Compile(c.String("match"))
		if err != nil {
			return none, err
		}
		p := fullPlan
		if c.Bool("small") {
			p = smallPlan
		}
		s := p.renew(match)
		s.Entries, s.Stalled = countOf(c, "entries", p.Entries), c.Bool("stalled")
		return l.renew(c.Context, s)
	})
}

func echoCommand() *cli.Command {
	return experiment(cli.Command{
		Name: "echo", Usage: "echo messages on the bare transport and under liveness",
		Flags: []cli.Flag{
			choice("transport", "on which", append([]string{"all"}, transports...)...),
			count("size", 1024, 1, mostEchoSize, "bytes of a message"),
			span("for", 5*time.Second, "how long each row is measured"),
		},
	}, func(c *cli.Context, l *lab) (output, error) {
		s := echoSettings{Transports: transports, Size: c.Int("size"), For: spanOf(c, "for", 50*time.Millisecond)}
		if one := c.String("transport"); one != "all" {
			s.Transports = []string{one}
		}
		return l.echo(c.Context, s)
	})
}

func holdCommand() *cli.Command {
	return experiment(cli.Command{
		Name: "hold", Usage: "hold idle sessions: memory, processor time, and none that is ended",
		Flags: []cli.Flag{
			transportFlag(), codecFlag(), ioFlag(),
			count("sessions", 10_000, 2, 1_000_000, "how many"),
			span("beat", 10*time.Second, "each session beats once in it"),
			span("timeout", 30*time.Second, "the servers' sliding policy"),
			choice("evidence", "what keeps a session alive; with acks of its kernel it sends nothing (tcp)", "bytes", "acks"),
			span("for", 10*time.Second, "how long they are held"),
			&cli.BoolFlag{Name: "no-stream", Usage: "yamux: sessions without a stream, which do not beat"},
			&cli.StringFlag{Name: "profile", Usage: "write the first server's cpu.pprof and heap.pprof to this `FOLDER`"},
		},
	}, func(c *cli.Context, l *lab) (output, error) {
		s := holdSettings{
			Transport: c.String("transport"), Codec: c.String("codec"), IO: c.String("io"), Sessions: countOf(c, "sessions", 100),
			Beat: spanOf(c, "beat", 300*time.Millisecond), Timeout: c.Duration("timeout"), For: spanOf(c, "for", time.Second),
			Settle: time.Second, NoStream: c.Bool("no-stream"), Sockets: true, Profile: c.String("profile"),
		}
		if s.NoStream {
			if s.Transport != "yamux" {
				return none, errors.New("--no-stream is for yamux")
			}
			s.Timeout = max(s.Timeout, longest)
		}
		if c.String("evidence") == "acks" {
			if s.Transport != "tcp" {
				return none, errors.New("--evidence acks is for tcp")
			}
			s.Acks, s.Beat = true, longest
		}
		if c.Bool("small") {
			s.Settle = 10 * time.Millisecond
		}
		if err := bounded(s.Transport, s.Codec, s.Sessions); err != nil {
			return none, err
		}
		if s.Timeout <= s.Beat && !s.Acks {
			return none, fmt.Errorf("a timeout of %v must be longer than a beat of %v", s.Timeout, s.Beat)
		}
		return l.hold(c.Context, s)
	})
}

func churnCommand() *cli.Command {
	return experiment(cli.Command{
		Name: "churn", Usage: "connect and disconnect, and see what that leaves behind",
		Flags: []cli.Flag{
			transportFlag(), codecFlag(), ioFlag(),
			count("parallel", 16, 1, 1000, "connections at a time"),
			span("for", 5*time.Second, "how long"),
		},
	}, func(c *cli.Context, l *lab) (output, error) {
		return l.churn(c.Context, churnSettings{
			Transport: c.String("transport"), Codec: c.String("codec"), IO: c.String("io"),
			Parallel: c.Int("parallel"), For: spanOf(c, "for", 300*time.Millisecond),
		})
	})
}

func stallCommand() *cli.Command {
	return experiment(cli.Command{
		Name: "stall", Usage: "stop or starve a server, or stop its clients: nobody who beats may be ended",
		Flags: []cli.Flag{
			transportFlag(), codecFlag(), ioFlag(),
			choice("by", "what is stopped, or (cgroup) starved", stallers...),
			count("sessions", 10_000, 1, 100_000, "how many"),
			span("timeout", 2*time.Second, "the sliding policy of the end that judges"),
			beatFlag(),
			&cli.Float64SliceFlag{Name: "stops", Value: cli.NewFloat64Slice(0.5, 1, 2, 10), Usage: "how long the stops of a round are, in timeouts"},
			count("rounds", 1, 1, 1000, "how many"),
			count("dead", 50, 0, 100_000, "sessions that fall silent in each trial; none by clients"),
			&cli.BoolFlag{Name: "unprotected", Usage: "for comparison: without protection against our own stalls"},
		},
	}, func(c *cli.Context, l *lab) (output, error) {
		s := stallSettings{
			Transport: c.String("transport"), Codec: c.String("codec"), IO: c.String("io"), By: c.String("by"),
			Sessions: countOf(c, "sessions", 50), Dead: countOf(c, "dead", 5), Rounds: c.Int("rounds"),
			Timeout: spanOf(c, "timeout", 500*time.Millisecond), Unprotected: c.Bool("unprotected"),
		}
		stops := c.Float64Slice("stops")
		if c.Bool("small") && !c.IsSet("stops") {
			stops = []float64{0.5, 2}
		}
		for _, n := range stops {
			d := time.Duration(n * float64(s.Timeout))
			if d <= 0 || d > longest {
				return none, fmt.Errorf("--stops %v: want more than 0, and %v at most", n, longest)
			}
			s.Stops = append(s.Stops, d)
		}
		if s.By == byClients {
			s.Dead = 0
			if s.Codec == "raw" {
				return none, errors.New("--by clients needs a codec in which servers answer")
			}
		}
		if s.By == byRepeat || s.By == byCgroup {
			s.Stops = nil
		}
		if s.Dead >= s.Sessions {
			return none, fmt.Errorf("of %d sessions %d are to be silent: none would beat", s.Sessions, s.Dead)
		}
		var err error
		if s.Beat, err = beatOf(c, s.Timeout); err != nil {
			return none, err
		}
		if err := bounded(s.Transport, s.Codec, s.Sessions); err != nil {
			return none, err
		}
		return l.stall(c.Context, s)
	})
}

func failCommand() *cli.Command {
	return experiment(cli.Command{
		Name: "fail", Usage: "have very many sessions lose their peers in one instant",
		Flags: []cli.Flag{
			choice("transport", "what sessions are; leases: an engine alone", append(slices.Clone(transports), failLeases)...), ioFlag(),
			count("sessions", 10_000, 1, 1_000_000, "that fail"),
			count("neighbours", 1000, 1, 100_000, "sessions that go on beating"),
			span("timeout", 2*time.Second, "the server's sliding policy"),
			beatFlag(),
			span("slow", 20*time.Millisecond, "what a slow receiver of events takes for each"),
		},
	}, func(c *cli.Context, l *lab) (output, error) {
		s := failSettings{
			Transport: c.String("transport"), IO: c.String("io"), Sessions: countOf(c, "sessions", 50), Neighbours: countOf(c, "neighbours", 10),
			Timeout: spanOf(c, "timeout", 500*time.Millisecond), Slow: c.Duration("slow"), Usual: 2 * time.Second,
		}
		if c.Bool("small") {
			s.Usual = 300 * time.Millisecond
		}
		if s.Transport != failLeases {
			if err := bounded(s.Transport, failCodec, s.Sessions+s.Neighbours); err != nil {
				return none, err
			}
		}
		var err error
		if s.Beat, err = beatOf(c, s.Timeout); err != nil {
			return none, err
		}
		return l.fail(c.Context, s)
	})
}

func detectCommand() *cli.Command {
	return experiment(cli.Command{
		Name: "detect", Usage: "lose peers in every way, in network namespaces (root): when does the server find out?",
		Flags: []cli.Flag{
			span("timeout", 3*time.Second, "the servers' sliding policy; 3s at least"),
			span("hold", 9*time.Second, "how long the peers live before"),
		},
	}, func(c *cli.Context, l *lab) (output, error) {
		s := detectSettings{Timeout: c.Duration("timeout")}
		s.Hold, s.Watch = spanOf(c, "hold", s.Timeout), 2*s.Timeout
		if s.Timeout < liveness.LeastAckTimeout {
			return none, fmt.Errorf("--timeout %v: acks need %v", s.Timeout, liveness.LeastAckTimeout)
		}
		if c.Bool("small") {
			s.Watch = s.Timeout * 3 / 2
		}
		if why := cannotIsolate(); why != "" {
			fmt.Fprintln(l.stderr, "detect is skipped:", why)
			return none, nil
		}
		return l.detect(c.Context, s)
	})
}

func peersCommand() *cli.Command {
	return experiment(cli.Command{
		Name: "peers", Usage: "livenet and what one would use instead, side by side, with pages and plots",
		Flags: []cli.Flag{
			count("runs", 5, 1, 20, "take every figure so often"),
			choice("family", "only this", "", familyDeadlines, familyIdle),
			&cli.StringFlag{Name: "match", Usage: "only what `REGEXP` matches"},
			&cli.StringFlag{Name: "out", Usage: "write pages, plots and results.json to this `FOLDER`"},
			&cli.StringFlag{Name: "from", Usage: "measure nothing: take this `FILE` of an earlier run"},
		},
	}, func(c *cli.Context, l *lab) (output, error) {
		match, err := regexp.Compile(c.String("match"))
		if err != nil {
			return none, err
		}
		s := peersSettings{plan: fullPlan, family: c.String("family"), match: match, out: c.String("out"), from: c.String("from")}
		if c.Bool("small") {
			s.plan = smallPlan
		}
		s.plan.Runs = countOf(c, "runs", 1)
		return l.peers(c.Context, s)
	})
}
