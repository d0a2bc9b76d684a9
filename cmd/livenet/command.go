package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/livenet/livenet/internal/eventlog"
	"github.com/livenet/livenet/internal/settings"
)

// Exit statuses of all commands.
const (
	statusFailed  = 1
	statusUsage   = settings.StatusUsage
	statusHurried = 130 // as shells report a command that was interrupted
)

// quietly returns an error that sets the exit status and prints nothing.
func quietly(status int) error { return cli.Exit("", status) }

const (
	flagHelp    = "help"
	flagVersion = "version"
)

// newApp returns the program for one run: parsing changes its flags.
func newApp(p *process) *cli.App {
	app := &cli.App{
		Name:                  "livenet",
		Usage:                 "closes connections whose other end is gone",
		CustomAppHelpTemplate: appHelp,
		Commands:              []*cli.Command{serveCommand(p), dialCommand(p), tunnelCommand(p), demoCommand(p), completionCommand(), helpCommand(), versionCommand()},
		Flags:                 []cli.Flag{helpFlag(), &cli.BoolFlag{Name: flagVersion, Usage: "show the version"}},

		HideHelp:             true, // the library's help flag is shared by all apps of the process
		EnableBashCompletion: true,
		SliceFlagSeparator:   " ",
		Reader:               p.stdin,
		Writer:               p.stdout,
		ErrWriter:            p.stderr,
		ExitErrHandler:       func(*cli.Context, error) {}, // run's caller exits
		OnUsageError:         settings.Explain,
		Action: func(c *cli.Context) error {
			switch {
			case c.Bool(flagVersion):
				return showVersion(c)
			case c.Args().Present():
				return unknownCommand(c.App, c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
	}
	for _, c := range app.Commands {
		c.HideHelp = true
		c.OnUsageError = settings.Explain
		c.CustomHelpTemplate = commandHelp + c.CustomHelpTemplate
		if len(c.Flags) > 0 {
			c.Before = func(*cli.Context) error { return checkVariables(p, app) }
		}
		c.Flags = append(c.Flags, helpFlag())
	}
	return app
}

func helpFlag() cli.Flag {
	return &cli.BoolFlag{Name: flagHelp, Aliases: []string{"h"}, Usage: "show this help, or a command's"}
}

func helpCommand() *cli.Command {
	return &cli.Command{
		Name: flagHelp, Hidden: true, SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			name := c.Args().First()
			switch command := c.App.Command(name); {
			case command != nil && !command.Hidden:
				return cli.ShowCommandHelp(c.Lineage()[1], name)
			case command == nil && name != "":
				return unknownCommand(c.App, name)
			}
			return cli.ShowAppHelp(c)
		},
	}
}

func versionCommand() *cli.Command {
	return &cli.Command{Name: flagVersion, Hidden: true, Action: showVersion}
}

func showVersion(c *cli.Context) error {
	fmt.Fprintln(c.App.Writer, c.App.Name, version())
	return nil
}

func unknownCommand(app *cli.App, name string) error {
	var names []string
	for _, c := range app.VisibleCommands() {
		names = append(names, c.Name)
	}
	if near := settings.Nearest(name, names); near != "" {
		return settings.Usage("unknown command %q: did you mean %s?", name, near)
	}
	return settings.Usage("unknown command %q: there are %s", name, settings.Enumerate(names, "and"))
}

// noArguments returns an error if there are arguments.
func noArguments(c *cli.Context) error {
	if c.Args().Present() {
		return settings.Usage("unexpected argument %q: see %s --help", c.Args().First(), c.Command.HelpName)
	}
	return nil
}

// run runs the program and returns the exit status.
func run(ctx context.Context, p *process, args []string) int {
	inner, out := *p, &output{w: p.stdout, process: p}
	inner.stdout = out
	app, name := newApp(&inner), "livenet"
	if len(args) > 0 {
		if c := app.Command(args[0]); c != nil && !c.SkipFlagParsing {
			name += " " + c.Name
			args = slices.Concat(args[:1], flagsFirst(args[1:], c.Flags))
			useVariables(p, c, args[1:])
		}
	}
	err := app.RunContext(ctx, append([]string{app.Name}, args...))
	status, why := 0, ""
	if err != nil {
		status, why = statusFailed, err.Error()
	}
	if e, ok := errors.AsType[cli.ExitCoder](err); ok {
		status = e.ExitCode()
		if e.Error() == "" {
			why = ""
		}
	}
	// A command whose output can't be written has failed, whatever else it did.
	if lost := out.failed(); lost != nil && !errors.Is(err, lost) {
		if why != "" {
			why += ", and "
		}
		status, why = statusFailed, why+"can't write: "+lost.Error()
	}
	if why != "" {
		p.printError(name + ": " + why)
	}
	return status
}

// flagsFirst moves flags before the arguments, since package flag stops at the first
// argument. It leaves what follows "--" alone, and a command line to be completed.
func flagsFirst(args []string, flags []cli.Flag) []string {
	if len(args) > 0 && args[len(args)-1] == completionMark {
		return args
	}
	var front, back []string
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			return slices.Concat(front, []string{arg}, back, args)
		case len(arg) < 2 || arg[0] != '-':
			back = append(back, arg)
		default:
			front = append(front, arg)
			if takesValue(arg, flags) && len(args) > 0 {
				front = append(front, args[0])
				args = args[1:]
			}
		}
	}
	return append(front, back...)
}

// takesValue reports whether the value of a flag is the next argument.
func takesValue(arg string, flags []cli.Flag) bool {
	return slices.ContainsFunc(flags, func(f cli.Flag) bool {
		return slices.Contains(f.Names(), strings.TrimLeft(arg, "-")) && f.(cli.DocGenerationFlag).TakesValue()
	})
}

// printError prints why a command ends. It does not wait long if stderr is blocked.
func (p *process) printError(text string) {
	printed := make(chan struct{})
	go func() {
		defer close(printed)
		fmt.Fprintln(p.stderr, eventlog.Clean(text))
	}()
	select {
	case <-printed:
	case <-time.After(p.waitAtMost()):
	}
}
