package main

import (
	"context"
	"errors"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/livenet/livenet/internal/eventlog"
	"github.com/livenet/livenet/internal/settings"
	"github.com/livenet/livenet/liveness"
)

func serveCommand(p *process) *cli.Command {
	var o serveOptions
	var own settings.Listener
	return &cli.Command{
		Name:  "serve",
		Usage: "accept connections and end each when its policy says so",
		Description: `Without flags, serve echoes on tcp 127.0.0.1:7373 and closes connections
that have been silent for 30 seconds.

Each --listener URL adds a listener. The scheme is its transport, and the query
sets flags of the first four groups below by their names. It must set timeout: a
URL inherits nothing from the flags. If --listen is given as well, the flags
describe one more listener.

The first SIGTERM, SIGINT or SIGHUP stops accepting, asks the peers to finish and
waits for them to leave; the second closes everything at once.`,
		CustomHelpTemplate: `
{{bold "Exit status"}}
    0   a signal ended it
    1   it can't listen, a listener failed, or its output can't be written
    2   the command line or a variable is invalid
  130   a second signal ended it at once

{{bold "Examples"}}
  livenet serve --policy sliding --timeout 4s
  livenet serve --transport quic --policy fixed --timeout 10s --log-format json
  livenet serve --listener 'tcp://127.0.0.1:7373?timeout=4s' \
                --listener 'quic://127.0.0.1:7374?policy=fixed&timeout=10s'
  livenet serve --forward 127.0.0.1:6379
  livenet serve --transport quic --service ssh=0.0.0.0:2222

Every flag has a variable: --listen is LIVENET_LISTEN.
`,
		Flags: append(settings.Flags(&own, handlerNames()), processFlags(&o)...),
		Action: func(c *cli.Context) (err error) {
			if err := noArguments(c); err != nil {
				return err
			}
			if o.listeners, err = readListeners(c, &own); err != nil {
				return err
			}
			return serve(c.Context, p, o)
		},
	}
}

const flagListener = "listener"

// logRate is more than anybody reads, and leaves nothing out of an ordinary day.
const (
	logRate     = 1000
	mostLogRate = 1_000_000
)

// serveOptions are what serve can be told.
type serveOptions struct {
	listeners []*settings.Listener
	drain     time.Duration
	logFormat string
	logLevel  string
	logRate   int
}

func processFlags(o *serveOptions) []cli.Flag {
	const group = "Process"
	return []cli.Flag{
		&cli.StringSliceFlag{Name: flagListener, Category: group, Usage: "`URL` add a listener, as in the examples"},
		settings.Duration(group, "drain", "how long peers may take to leave when serve ends", &o.drain, 5*time.Second),
		settings.OneOf(group, "log-format", "text or json, on stderr", &o.logFormat, string(eventlog.Text), string(eventlog.JSON), string(eventlog.Text)),
		settings.OneOf(group, "log-level", "debug (all streams, too), info, warn or error", &o.logLevel, "info", "debug", "info", "warn", "error"),
		settings.Number(group, "log-rate", "lines a second about sessions, streams and failures to accept, at most; the others are counted in one line; 0: no limit",
			&o.logRate, logRate, 0, mostLogRate),
	}
}

// readListeners returns the listener that the flags describe, and those of URLs.
func readListeners(c *cli.Context, own *settings.Listener) ([]*settings.Listener, error) {
	if given(c, "listen") > 1 {
		return nil, settings.Usage("--listen is given more than once: add a --listener URL for each further listener")
	}
	var list []*settings.Listener
	urls := c.StringSlice(flagListener)
	if len(urls) == 0 || c.IsSet("listen") {
		if err := own.Check(c); err != nil {
			return nil, err
		}
		list = append(list, own)
	} else {
		for _, f := range settings.Flags(new(settings.Listener), nil) {
			if name := f.Names()[0]; c.IsSet(name) {
				return nil, settings.Usage("%s does not reach into a --listener URL: put it there, or add --listen for a listener that the flags describe", settings.Spell(c, name))
			}
		}
	}
	for _, text := range urls {
		if text == "" { // between the spaces of a variable
			continue
		}
		l, err := settings.ParseURL(text, handlerNames())
		if err != nil {
			return nil, settings.Usage("%s %q: %w", settings.Spell(c, flagListener), text, err)
		}
		list = append(list, l)
	}
	return list, nil
}

// given is how often a flag stands on the command line: the library takes the last.
func given(c *cli.Context, name string) (n int) {
	for _, arg := range c.Lineage()[1].Args().Slice() {
		if arg, _, _ = strings.Cut(arg, "="); arg == "-"+name || arg == "--"+name {
			n++
		}
	}
	return n
}

// serve serves until ctx ends, and then drains. All listeners are bound before
// any of them accepts.
func serve(ctx context.Context, p *process, o serveOptions) error {
	listeners, err := listen(ctx, p, o.listeners)
	if err != nil {
		return err
	}
	log := newEventLog(p, o)
	defer closeLog(p, log)
	noteCertificate(p, log, listeners)
	return serveAll(ctx, p, o, listeners, log)
}

func newEventLog(p *process, o serveOptions) *eventlog.Log {
	options := eventlog.Options{Format: eventlog.Format(o.logFormat), Rate: o.logRate, Color: p.colors(p.stderr)}
	options.Level.UnmarshalText([]byte(o.logLevel)) // one of those that there are
	return eventlog.New(p.stderr, options)
}

// closeLog waits for the last lines, but not for ever.
func closeLog(p *process, log *eventlog.Log) {
	ctx, cancel := context.WithTimeout(context.Background(), p.waitAtMost())
	defer cancel()
	log.Close(ctx)
}

// errUnread is why what is left to be printed is not waited for.
var errUnread = errors.New("can't write: stdout is not being read")

// serveAll serves each listener with a server of its own. When one of them
// fails, or nobody is left to read what handlers print, all end.
func serveAll(ctx context.Context, p *process, o serveOptions, listeners []*bound, log *eventlog.Log) (err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	servers := make([]*liveness.Server, len(listeners))
	returned := make(chan error, len(listeners))
	out := newPrinter(p.stdout, log)
	// That the log's reader has gone, which a signal would tell, ends no session.
	signal.Ignore(syscall.SIGPIPE)
	for i, l := range listeners {
		servers[i] = l.server(o, out, log)
	}
	var gateways sync.WaitGroup
	defer gateways.Wait()
	defer stop()
	for _, l := range listeners {
		for _, g := range l.forward {
			gateways.Go(func() { g.Run(ctx) })
		}
	}
	for i, l := range listeners {
		go func() { returned <- servers[i].Serve(ctx, l.Listener) }()
	}
	defer func() {
		err = errors.Join(err, out.close(p.waitAtMost()))
		var counts []liveness.Counts
		for _, s := range servers {
			counts = append(counts, s.Counts(liveness.KindSession))
		}
		log.Stopped(counts...)
	}()
	hurry, gone := p.hurry, out.gone
	var errs []error
	for left := len(listeners); left > 0; {
		select {
		case err := <-returned:
			left--
			errs = append(errs, err)
			stop()
		case <-gone:
			gone = nil // it is said in the end that something was not written
			stop()
		case <-hurry:
			hurry = nil
			errs = append(errs, quietly(statusHurried))
			for _, s := range servers {
				s.Close()
			}
		}
	}
	return errors.Join(errs...)
}
