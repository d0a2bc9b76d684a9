package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/urfave/cli/v2"

	"github.com/livenet/livenet/internal/settings"
)

// Exit statuses that all commands have.
const (
	statusFailed  = 1
	statusUsage   = 2
	statusHurried = 130 // as a shell has it for a command that was interrupted
)

// A status is an exit status and what it means.
type status struct {
	code    int
	meaning string
}

const meaningUsage = "the command line makes no sense"

// A command is one of the program's. A group has commands of its own, and else
// only a summary and what it is about.
type command struct {
	name     string // in full: "serve", "bench renew"
	args     string // what follows the flags in the usage line
	summary  string // in the program's help
	about    string // in the command's own
	options  []option
	statuses []status
	variable func(name string) string // a flag's environment variable
	examples string
	run      func(ctx context.Context, p *process, f *flags) error
	commands []*command
}

func commands() []*command {
	return []*command{serveCommand(), dialCommand(), demoCommand(), benchCommand()}
}

// run is the program: it returns the exit status.
func run(ctx context.Context, p *process, args []string) int {
	args = spelt(args)
	line := []string{"livenet"}
	for c := commandOf(commands(), args); c != nil; c = commandOf(c.commands, args) {
		line = append(line, c.word())
		args = args[1:]
		if c.run != nil {
			args = flagsFirst(args, c.options)
		}
	}
	inner, out := *p, &output{w: p.stdout}
	inner.stdout = out
	err := newApp(&inner).RunContext(ctx, append(line, args...))
	switch lost := out.failed(); {
	case lost == nil, errors.Is(err, lost): // it has been said
	case err == nil:
		err = named(strings.Join(line, " "), fmt.Errorf("can't write: %w", lost))
	default: // it has failed, whatever else it has
		lost := fmt.Errorf("can't write: %w", lost)
		if e, ok := errors.AsType[*exit](err); ok && e.err == nil {
			lost = named(strings.Join(line, " "), lost)
		} else {
			lost = fmt.Errorf("%w, and %w", err, lost)
		}
		err = &exit{statusFailed, lost}
	}
	return report(p, err)
}

// spelt turns the commands that people try for help into the flags that give it.
// What follows the command that help is wanted for is of no use to it.
func spelt(args []string) []string {
	switch {
	case len(args) == 0:
	case args[0] == flagVersion:
		return []string{"--" + flagVersion}
	case args[0] == flagHelp:
		words, rest := []string{}, args[1:]
		for c := commandOf(commands(), rest); c != nil; c = commandOf(c.commands, rest) {
			words, rest = append(words, rest[0]), rest[1:]
		}
		if len(words) == 0 && len(rest) > 0 && rest[0] != flagHelp && rest[0] != flagVersion {
			return rest // which will say that there is no such command
		}
		return append(words, "--"+flagHelp)
	}
	return args
}

func commandOf(list []*command, args []string) *command {
	for _, c := range list {
		if len(args) > 0 && args[0] == c.word() {
			return c
		}
	}
	return nil
}

// word is the last of the command's name.
func (c *command) word() string { return c.name[strings.LastIndexByte(c.name, ' ')+1:] }

// An exit is an error that says its exit status, and perhaps has said
// everything else already.
type exit struct {
	status int
	err    error // nil: no message
}

func (e *exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// usage is the error of a command line that makes no sense.
func usage(format string, args ...any) error {
	return &exit{statusUsage, fmt.Errorf(format, args...)}
}

// report puts an error into one line and returns the exit status.
func report(p *process, err error) int {
	if err == nil {
		return 0
	}
	status := statusFailed
	if e, ok := errors.AsType[*exit](err); ok {
		status = e.status
		if e.err == nil {
			return status
		}
	}
	p.lastWord(err.Error())
	return status
}

// lastWord says why a command ends, but does not wait for ever for who has stopped to
// read that.
func (p *process) lastWord(text string) {
	said := make(chan struct{})
	go func() {
		defer close(said)
		fmt.Fprintln(p.stderr, oneLine(text))
	}()
	select {
	case <-said:
	case <-time.After(patience):
	}
}

// oneLine keeps what comes from elsewhere (a file's name, a peer's words) on
// one line.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

func newApp(p *process) *cli.App {
	app := &cli.App{
		Name:                      "livenet",
		Flags:                     []cli.Flag{helpFlag(), &cli.BoolFlag{Name: flagVersion}},
		HideHelp:                  true,
		HideVersion:               true,
		DisableSliceFlagSeparator: true,
		Reader:                    p.stdin,
		Writer:                    p.stdout,
		ErrWriter:                 p.stderr,
		ExitErrHandler:            func(*cli.Context, error) {}, // run's caller exits
		OnUsageError: func(c *cli.Context, err error, _ bool) error {
			return named("livenet", flagError(err, c.App.Flags))
		},
		Action: func(c *cli.Context) error {
			switch {
			case c.Bool(flagVersion):
				fmt.Fprintln(p.stdout, "livenet "+version())
				return nil
			case c.Args().Present():
				return named("livenet", unknownCommand(c.Args().First(), commands()))
			}
			return cli.ShowAppHelp(c)
		},
	}
	for _, c := range commands() {
		app.Commands = append(app.Commands, c.cli(p))
	}
	app.CustomAppHelpTemplate = literal(overview())
	return app
}

const (
	flagHelp    = "help"
	flagVersion = "version"
)

// helpFlag is a flag of our own: the library's is one object for the whole
// process, which two runs at once, in a test, would both write to.
func helpFlag() cli.Flag { return &cli.BoolFlag{Name: flagHelp, Aliases: []string{"h"}} }

func (c *command) cli(p *process) *cli.Command {
	cmd := &cli.Command{
		Name:               c.word(),
		Usage:              c.summary,
		HideHelp:           true,
		Flags:              append(cliFlags(c.options), helpFlag()),
		CustomHelpTemplate: literal(c.help()),
		OnUsageError: func(ctx *cli.Context, err error, _ bool) error {
			return named("livenet "+c.name, flagError(err, ctx.Command.Flags))
		},
		Action: func(ctx *cli.Context) error {
			if c.run == nil {
				return named("livenet "+c.name, c.group(ctx))
			}
			f := &flags{cli: ctx, command: c, lookupEnv: p.lookupEnv}
			return named("livenet "+c.name, c.run(ctx.Context, p, f))
		},
	}
	for _, sub := range c.commands {
		cmd.Subcommands = append(cmd.Subcommands, sub.cli(p))
	}
	return cmd
}

// group is what a group does when none of its commands is named: as the program
// does, it shows its help.
func (c *command) group(ctx *cli.Context) error {
	if ctx.Args().Present() {
		return unknownCommand(ctx.Args().First(), c.commands)
	}
	return cli.ShowSubcommandHelp(ctx)
}

// named puts who speaks before an error's message.
func named(name string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*exit](err); ok && e.err == nil {
		return err
	}
	return fmt.Errorf("%s: %w", name, err)
}

func unknownCommand(name string, list []*command) error {
	var names []string
	for _, c := range list {
		names = append(names, c.word())
	}
	if near := settings.Nearest(name, names); near != "" {
		return usage("unknown command %q: did you mean %s?", name, near)
	}
	return usage("unknown command %q: there are %s", name, settings.Enumerate(names))
}
