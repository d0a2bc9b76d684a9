package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/livenet/livenet/internal/eventlog"
	"github.com/livenet/livenet/internal/settings"
	"github.com/livenet/livenet/internal/stack"
	"github.com/livenet/livenet/internal/story"
	"github.com/livenet/livenet/internal/timeline"
)

func demoCommand(p *process) *cli.Command {
	speed := 10.0
	return &cli.Command{
		Name:  "demo",
		Usage: "show how each policy ends a connection over each transport",
		Description: "Demo runs a heartbeat client over " + settings.Enumerate(stack.Names, "and") + `, under the sliding and
the fixed policy, all at once in this process: the client sends ten beats, one
every 2 seconds, is silent for 12 seconds, and tries to beat again. It uses only
the loopback interface.`,
		CustomHelpTemplate: `
{{bold "Exit status"}}
    0   every connection ended when and why it should
    1   one ended early, late or for another reason, or could not be opened
    2   the command line or a variable is invalid
  130   interrupted

{{bold "Examples"}}
  livenet demo
  livenet demo --speed 1

Every flag has a variable: --speed is LIVENET_DEMO_SPEED.
`,
		Flags: []cli.Flag{&cli.Float64Flag{
			Name: "speed", Category: "Flags", Destination: &speed, Value: speed,
			Usage: fmt.Sprintf("`N` run N times as fast: %v to %v", slowest, fastest),
			Action: func(c *cli.Context, speed float64) error {
				if speed >= slowest && speed <= fastest { // NaN is neither
					return nil
				}
				return settings.Usage("%s %q: want a number from %v to %v", settings.Spell(c, "speed"), fmt.Sprint(speed), slowest, fastest)
			},
		}},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			return demo(c.Context, p, speed)
		},
	}
}

// Slower is tedious to watch. At higher speeds beats can't be sent in time.
const (
	slowest = 0.1
	fastest = 40.0
)

// demo runs the demonstration, and fails unless every connection ended as its policy
// promises.
func demo(ctx context.Context, p *process, speed float64) error {
	parts := story.Parts()
	fmt.Fprintf(p.stdout, "A client beats every %v, %d times, is silent for %v, and tries to beat again.\nShown at %v times the speed.\n\n",
		story.Every, story.Beats, story.Pause, speed)
	outcomes, err := show(ctx, p, parts, speed)
	if ctx.Err() != nil {
		return quietly(statusHurried)
	}
	if err != nil {
		return fmt.Errorf("can't play: %w", err)
	}
	fmt.Fprintln(p.stdout)
	table(p.stdout, parts, outcomes)
	return judge(p.stdout, outcomes)
}

// show runs all parts and draws them.
func show(ctx context.Context, p *process, parts []story.Part, speed float64) ([]story.Outcome, error) {
	var names []string
	for _, part := range parts {
		names = append(names, fmt.Sprintf("%-5s %s", part.Transport, part.Policy))
	}
	began := time.Now()
	o := timeline.Options{
		Span:    24 * time.Second,
		Gap:     story.Every,
		Now:     func() time.Duration { return time.Duration(float64(time.Since(began)) * speed) },
		Color:   p.colors(p.stdout),
		Unicode: p.unicode(),
	}
	if _, ok := p.terminal(p.stdout); ok {
		o.Columns = func() int {
			columns, _ := p.terminal(p.stdout)
			return columns
		}
	}
	t := timeline.Start(p.stdout, o, names)
	defer t.Close()
	return story.Play(ctx, parts, speed, func(m story.Moment) {
		if m.End == nil {
			t.Mark(m.Part, m.At, m.Beat)
			return
		}
		t.End(m.Part, m.At, fmt.Sprintf("%v at %.1fs", m.End.Reason, m.End.Measured.Seconds()), m.End.Wrong == "")
	})
}

func table(w io.Writer, parts []story.Part, outcomes []story.Outcome) {
	b := new(strings.Builder)
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "transport\tpolicy\texpected\tmeasured\tlate\treason\tnotified\t")
	for i, part := range parts {
		o := outcomes[i]
		notified := "yes"
		if o.ClientReason != o.Reason {
			notified = o.ClientReason.String()
		}
		fmt.Fprintf(t, "%s\t%s\t%.1fs\t%.1fs\t%s\t%v\t%s\t%s\n", part.Transport, part.Policy,
			o.Expected.Seconds(), o.Measured.Seconds(), eventlog.Short(o.Late), o.Reason, notified, o.Wrong)
	}
	t.Flush()
	for line := range strings.Lines(b.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
}

// judge prints the last line, or returns an error if a connection ended wrongly.
func judge(w io.Writer, outcomes []story.Outcome) error {
	wrong := 0
	for _, o := range outcomes {
		if o.Wrong != "" {
			wrong++
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d of %d connections did not end as expected", wrong, len(outcomes))
	}
	fmt.Fprintf(w, "\nAll %d ended as expected: none early, none late by more than two ticks (%v)\nand %v for scheduling. Lateness is in real time, the other times are scaled.\n",
		len(outcomes), story.Ticks, story.Scheduling)
	return nil
}
