package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/livenet/livenet/internal/eventlog"
	"github.com/livenet/livenet/internal/settings"
	"github.com/livenet/livenet/liveness"
)

func serveCommand() *command {
	return &command{
		name:    "serve",
		summary: "accept connections and end each when its policy says so",
		about: `Without flags, serve echoes on tcp 127.0.0.1:7373 and ends whoever has been
silent for 30 seconds.

Several listeners can be had with --listener URL, where the scheme is the
transport and the query holds the flags of the first three groups below by their
names. Its timeout must be given. A URL inherits nothing from the flags; they
describe a listener of their own if --listen is among them.

The first SIGTERM or SIGINT stops accepting, tells the peers and waits for them
to leave; the second ends everything at once.`,
		options: serveOptionsTable(),
		statuses: []status{
			{0, "it was asked to end, and has"},
			{statusFailed, "it can't listen, a listener broke, or what it prints can't be written"},
			{statusUsage, meaningUsage},
			{statusHurried, "it was asked to end twice"},
		},
		variable: prefixed(""),
		examples: `  livenet serve --policy sliding --timeout 4s
  livenet serve --transport quic --policy fixed --timeout 10s --log-format json
  livenet serve --listener 'tcp://127.0.0.1:7373?timeout=4s' \
                --listener 'quic://127.0.0.1:7374?policy=fixed&timeout=10s'`,
		run: func(ctx context.Context, p *process, f *flags) error {
			o, err := readServe(f)
			if err != nil {
				return err
			}
			return serve(ctx, p, o)
		},
	}
}

const (
	flagListen    = "listen"
	flagListener  = "listener"
	flagDrain     = "drain"
	flagLogFormat = "log-format"
	flagLogLevel  = "log-level"
	flagLogRate   = "log-rate"
)

// logRate is more than anybody reads, and leaves nothing out of an ordinary day.
const (
	logRate     = 1000
	mostLogRate = 1_000_000
)

// serveOptionsTable is the table of a listener's settings, and what concerns
// the process.
func serveOptionsTable() []option {
	var list []option
	for _, s := range settings.All {
		list = append(list, option{name: s.Name, group: s.Group, value: s.Value, def: s.Default, help: s.Help})
	}
	const group = "Process"
	return append(list,
		option{name: flagListener, group: group, value: "URL", repeat: true, help: "a listener of its own"},
		option{name: flagDrain, group: group, value: "DURATION", def: liveness.DefaultDrain.String(),
			help: "how long peers have to leave when serve is to end"},
		option{name: flagLogFormat, group: group, value: "FORMAT", def: string(eventlog.Text), help: "text or json, on stderr"},
		option{name: flagLogLevel, group: group, value: "LEVEL", def: "info", help: "debug (all streams, too), info, warn or error"},
		option{name: flagLogRate, group: group, value: "N", def: strconv.Itoa(logRate),
			help: "lines a second about sessions and streams; what is beyond is counted in one line; 0: all of them"},
	)
}

// serveOptions are what serve can be told.
type serveOptions struct {
	listeners []*settings.Listener
	drain     time.Duration
	log       eventlog.Options
}

func readServe(f *flags) (o serveOptions, err error) {
	f.noArguments()
	o.drain = f.duration(flagDrain)
	o.log.Format = eventlog.Format(f.oneOf(flagLogFormat, string(eventlog.JSON), string(eventlog.Text)))
	o.log.Rate = f.number(flagLogRate, 0, mostLogRate)
	level := f.oneOf(flagLogLevel, "debug", "info", "warn", "error")
	if f.err != nil {
		return o, f.err
	}
	if err := o.log.Level.UnmarshalText([]byte(level)); err != nil {
		return o, err
	}
	if o.listeners, err = readListeners(f); err != nil {
		return o, &exit{statusUsage, err}
	}
	return o, nil
}

// readListeners reads the listener that the flags describe, and those of URLs.
func readListeners(f *flags) ([]*settings.Listener, error) {
	urls := f.list(flagListener)
	source := settings.Source{Text: make(map[string]string), Spell: f.spell}
	stray := ""
	for _, s := range settings.All {
		if text, given := f.given(s.Name); given {
			source.Text[s.Name] = text
			stray = s.Name
		}
	}
	_, own := source.Text[flagListen]
	if len(urls) > 0 && !own && stray != "" {
		return nil, fmt.Errorf("%s does not reach into a --listener URL: put it there, or add --%s for a listener that the flags describe", f.spell(stray), flagListen)
	}
	var list []*settings.Listener
	if len(urls) == 0 || own {
		l, err := source.Listener()
		if err != nil {
			return nil, err
		}
		list = append(list, l)
	}
	for _, text := range urls {
		l, err := settings.ParseURL(text)
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w", f.spell(flagListener), text, err)
		}
		list = append(list, l)
	}
	return list, nil
}

// serve serves until ctx ends, and then drains. All listeners are bound before
// any of them accepts.
func serve(ctx context.Context, p *process, o serveOptions) error {
	listeners, err := listen(ctx, p, o.listeners)
	if err != nil {
		return err
	}
	log := newEventLog(p, o)
	defer closeLog(log)
	noteCertificates(log, listeners)
	return serveAll(ctx, p, o, listeners, log)
}

func newEventLog(p *process, o serveOptions) *eventlog.Log {
	o.log.Color = p.colors(p.stderr)
	return eventlog.New(p.stderr, o.log)
}

// closeLog waits for the last lines, but not for ever.
func closeLog(log *eventlog.Log) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	log.Close(ctx)
}

// errUnread is why handlers that print can't be waited for.
var errUnread = errors.New("can't write: nobody reads stdout")

// serveAll serves each listener with a server of its own. When one of them
// fails, or nobody is left to read what handlers print, all end.
func serveAll(ctx context.Context, p *process, o serveOptions, listeners []*bound, log *eventlog.Log) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	servers := make([]*liveness.Server, len(listeners))
	ended := make(chan error, len(listeners))
	out := newPrinter(p.stdout)
	// That the log's reader has gone, which a signal would tell, ends no session.
	signal.Ignore(syscall.SIGPIPE)
	for i, l := range listeners {
		servers[i] = l.server(o, out, log)
	}
	for i, l := range listeners {
		go func() { ended <- servers[i].Serve(ctx, l.Listener) }()
	}
	hurry, gone, draining := p.hurry, out.gone, ctx.Done()
	var overdue <-chan time.Time
	var errs []error
	for left := len(listeners); left > 0; {
		select {
		case err := <-ended:
			left--
			errs = append(errs, err)
			stop()
		case <-gone:
			gone = nil // it is said in the end that something was not written
			stop()
		case <-draining:
			draining = nil
			overdue = time.After(o.drain + patience)
		case <-overdue:
			if out.stuck(patience) {
				return errors.Join(append(errs, errUnread)...)
			}
			overdue = time.After(patience)
		case <-hurry:
			hurry = nil
			errs = append(errs, &exit{status: statusHurried})
			for _, s := range servers {
				s.Close()
			}
		}
	}
	return errors.Join(errs...)
}
