package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/livenet/livenet/internal/settings"
)

// An option is a flag, as the help and docs/cli.md list it. Its value stays
// text until the command reads it, so that messages are the command's own.
type option struct {
	name   string
	group  string
	value  string // what stands for the value; empty: a switch
	def    string // the default, as it would be written
	help   string
	short  string
	repeat bool
}

func cliFlags(options []option) []cli.Flag {
	var list []cli.Flag
	for _, o := range options {
		var aliases []string
		if o.short != "" {
			aliases = []string{o.short}
		}
		switch {
		case o.value == "":
			list = append(list, &cli.BoolFlag{Name: o.name, Aliases: aliases})
		case o.repeat:
			list = append(list, &cli.StringSliceFlag{Name: o.name, Aliases: aliases})
		default:
			list = append(list, &cli.StringFlag{Name: o.name, Aliases: aliases})
		}
	}
	return list
}

// flags are a command's flags as they were given: on the command line, or else
// in the environment, where an empty variable is none. The first thing that is
// wrong with them stays in err, so that a command reads all it wants and asks
// once.
type flags struct {
	cli       *cli.Context
	command   *command
	lookupEnv func(string) (string, bool)
	err       error
}

func (f *flags) fail(format string, args ...any) {
	if f.err == nil {
		f.err = usage(format, args...)
	}
}

// text is a flag's value, or its default.
func (f *flags) text(name string) string {
	text, given := f.given(name)
	if !given {
		return f.option(name).def
	}
	return text
}

func (f *flags) given(name string) (text string, ok bool) {
	switch {
	case !f.cli.IsSet(name):
		text, _ = f.lookupEnv(f.command.variable(name))
		return text, text != ""
	case f.option(name).value == "":
		return strconv.FormatBool(f.cli.Bool(name)), true
	}
	return f.cli.String(name), true
}

// list is a repeated flag's values. A variable holds several with spaces
// between them.
func (f *flags) list(name string) []string {
	if f.cli.IsSet(name) {
		return f.cli.StringSlice(name)
	}
	text, _ := f.lookupEnv(f.command.variable(name))
	return strings.Fields(text)
}

func (f *flags) option(name string) option {
	i := slices.IndexFunc(f.command.options, func(o option) bool { return o.name == name })
	return f.command.options[i]
}

// spell is how the user wrote a flag, or would have.
func (f *flags) spell(name string) string {
	if variable := f.command.variable(name); !f.cli.IsSet(name) && f.getenv(variable) != "" {
		return variable
	}
	return "--" + name
}

// with is a flag and its value, as the user wrote them, or would have.
func (f *flags) with(name string) string { return f.spell(name) + " " + f.text(name) }

func (f *flags) getenv(name string) string {
	value, _ := f.lookupEnv(name)
	return value
}

// duration is a flag's value, or 0 where there is neither that nor a default.
func (f *flags) duration(name string) time.Duration {
	text := f.text(name)
	if _, given := f.given(name); !given && text == "" {
		return 0
	}
	d, err := settings.Duration(text)
	if err != nil {
		f.fail("%s %w", f.spell(name), err)
	}
	return d
}

// durationUpTo is duration for what must not be longer than most.
func (f *flags) durationUpTo(name string, most time.Duration) time.Duration {
	d, err := time.ParseDuration(f.text(name))
	if err != nil {
		return f.duration(name) // which says so
	}
	if d < settings.MinDuration || d > most {
		f.fail("%s %s: out of range: from %v to %s", f.spell(name), f.text(name), settings.MinDuration, settings.Text(most))
	}
	return d
}

// number is a flag's value, a whole number from least to most.
func (f *flags) number(name string, least, most int) int {
	text := f.text(name)
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		f.fail("%s %q: want a whole number from %d to %d", f.spell(name), text, least, most)
	}
	return n
}

// on is a switch.
func (f *flags) on(name string) bool {
	text, given := f.given(name)
	if !given {
		return false
	}
	on, err := strconv.ParseBool(text)
	if err != nil {
		f.fail("%s %q: want true or false", f.spell(name), text)
	}
	return on
}

// oneOf is a flag's value, which must be one of names.
func (f *flags) oneOf(name string, names ...string) string {
	text := f.text(name)
	if !slices.Contains(names, text) {
		f.fail("%w", settings.Unknown(f.spell(name), text, names))
	}
	return text
}

// file is a file's name, or empty.
func (f *flags) file(name string) string {
	text, given := f.given(name)
	if given && text == "" {
		f.fail("%s is empty: want the name of a file", f.spell(name))
	}
	return text
}

// noArguments refuses arguments where none belong.
func (f *flags) noArguments() {
	if f.cli.Args().Present() {
		f.fail("unexpected argument %q: see livenet %s --help", f.cli.Args().First(), f.command.name)
	}
}

// flagError says what is wrong with a command line that package flag can't
// read. Package flag has no types for it, only texts.
func flagError(err error, known []cli.Flag) error {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		name = strings.TrimLeft(name, "-")
		if len(name) == 1 {
			return usage("unknown flag -%s: see --help", name)
		}
		if near := settings.Nearest(name, flagNames(known)); near != "" {
			return usage("unknown flag --%s: did you mean --%s?", name, near)
		}
		return usage("unknown flag --%s: see --help", name)
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return usage("--%s needs a value", strings.TrimLeft(name, "-"))
	}
	var value, name string
	if n, _ := fmt.Sscanf(text, "invalid boolean value %q for -%s", &value, &name); n == 2 {
		return usage("--%s %q: want true or false", strings.TrimRight(name, ":"), value)
	}
	return usage("%s", text)
}

func flagNames(list []cli.Flag) []string {
	var names []string
	for _, f := range list {
		names = append(names, f.Names()...)
	}
	return names
}

// flagsFirst moves flags that stand behind arguments before them, where package
// flag looks for them. What follows "--" is left alone.
func flagsFirst(args []string, options []option) []string {
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
			if takesValue(arg, options) && len(args) > 0 {
				front = append(front, args[0])
				args = args[1:]
			}
		}
	}
	return append(front, back...)
}

// takesValue reports whether the value of a flag is the next argument.
func takesValue(arg string, options []option) bool {
	name := strings.TrimLeft(arg, "-")
	return slices.ContainsFunc(options, func(o option) bool {
		return o.value != "" && (o.name == name || o.short == name)
	})
}

// prefixed names a command's variables.
func prefixed(prefix string) func(string) string {
	return func(name string) string {
		if prefix != "" {
			name = fmt.Sprintf("%s-%s", prefix, name)
		}
		return settings.Variable(name)
	}
}
