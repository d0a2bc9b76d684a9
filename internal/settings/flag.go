package settings

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"github.com/xrash/smetrics"
)

// The flags below check their own value. The usage text of a flag with a value begins with a
// placeholder in backquotes.

// OneOf is a flag whose value is one of names.
func OneOf(group, name, usage string, to *string, value string, names ...string) cli.Flag {
	return &cli.StringFlag{
		Name: name, Category: group, Usage: "`NAME` " + usage, Destination: to, Value: value,
		Action: func(c *cli.Context, text string) error {
			if slices.Contains(names, text) {
				return nil
			}
			where := ""
			if spelled := Spell(c, name); strings.HasPrefix(spelled, VariablePrefix) {
				where = " in " + spelled // it is not visible on the command line
			}
			return Usage("unknown %s %q%s: there are %s", strings.ReplaceAll(name, "-", " "), text, where, Enumerate(names, "and"))
		},
	}
}

// Duration is a flag whose value is from MinDuration to MaxDuration. Without a
// value it is 0.
func Duration(group, name, usage string, to *time.Duration, value time.Duration) *cli.DurationFlag {
	return &cli.DurationFlag{
		Name: name, Category: group, Usage: "`DURATION` " + usage, Destination: to, Value: value,
		Action: func(c *cli.Context, d time.Duration) error {
			if d >= MinDuration && d <= MaxDuration {
				return nil
			}
			return Usage("%s %s: out of range: from %v to %dh (ten years)", Spell(c, name), Text(d), MinDuration, MaxDuration/time.Hour)
		},
	}
}

// Number is a flag whose value is a whole number from least to most.
func Number(group, name, usage string, to *int, value, least, most int) cli.Flag {
	return &cli.IntFlag{
		Name: name, Category: group, Usage: "`N` " + usage, Destination: to, Value: value,
		Action: func(c *cli.Context, n int) error {
			if n >= least && n <= most {
				return nil
			}
			return Usage("%s %q: want a number from %d to %d", Spell(c, name), strconv.Itoa(n), least, most)
		},
	}
}

// Size is a flag whose value is a number of bytes, such as 500, 64K, 2M or 1G, of which
// K is 1024. Without a value it is 0.
func Size(group, name, usage string, to *int) cli.Flag {
	return &cli.StringFlag{
		Name: name, Category: group, Usage: "`SIZE` " + usage,
		Action: func(c *cli.Context, text string) (err error) {
			if *to, err = parseSize(text); err != nil {
				return Usage("%s %q: want a size from 0 to %dG, such as 500, 64K or 2M", Spell(c, name), text, mostSize>>30)
			}
			return nil
		},
	}
}

// List is a flag that may be given several times, each time with a value for add. Its
// error says what is wrong with the value. The usage begins with what stands for one.
func List(group, name, usage string, add func(text string) error) cli.Flag {
	return &cli.StringSliceFlag{
		Name: name, Category: group, Usage: usage,
		Action: func(c *cli.Context, list []string) error {
			for _, text := range list {
				if text == "" && len(list) > 1 { // between the spaces of a variable
					continue
				}
				if err := add(text); err != nil {
					return Usage("%s %q: %w", Spell(c, name), text, err)
				}
			}
			return nil
		},
	}
}

const mostSize = 1 << 30

func parseSize(text string) (int, error) {
	unit := 0
	for i, suffix := range []string{"K", "M", "G"} {
		if digits, ok := strings.CutSuffix(strings.ToUpper(text), suffix); ok {
			text, unit = digits, 10*(i+1)
		}
	}
	n, err := strconv.ParseUint(text, 10, 62)
	if err != nil || n > mostSize>>unit {
		return 0, strconv.ErrRange
	}
	return int(n << unit), nil
}

// File is a flag whose value is the name of a file.
func File(group, name, usage string, to *string) cli.Flag {
	return &cli.PathFlag{
		Name: name, Category: group, Usage: "`FILE` " + usage, Destination: to, TakesFile: true,
		Action: func(c *cli.Context, file string) error {
			if file != "" {
				return nil
			}
			return Usage("%s is empty: want the name of a file", Spell(c, name))
		},
	}
}

// Switch is a flag that is on or off.
func Switch(group, name, usage string, to *bool) *cli.BoolFlag {
	return &cli.BoolFlag{Name: name, Category: group, Usage: usage, Destination: to}
}

// StatusUsage is the exit status for an invalid command line.
const StatusUsage = 2

// Usage returns the error of an invalid command line.
func Usage(format string, args ...any) error {
	return cli.Exit(fmt.Errorf(format, args...), StatusUsage)
}

// VariablePrefix begins the name of every environment variable.
const VariablePrefix = "LIVENET_"

// Spell returns a flag as the user wrote it or would write it: with dashes, as a variable, or
// by its bare name in a URL.
func Spell(c *cli.Context, name string) string {
	if c.App.Name == urlApp {
		return name
	}
	if f := find(c.Command.Flags, name); f != nil && f.IsSet() { // by its variable
		return f.GetEnvVars()[0]
	}
	return "--" + name
}

// With returns a flag and its value, as the user wrote them or would write them.
func With(c *cli.Context, name string) string {
	value := c.Value(name)
	if d, ok := value.(time.Duration); ok {
		value = Text(d)
	}
	return fmt.Sprintf("%s %v", Spell(c, name), value)
}

func find(flags []cli.Flag, name string) cli.DocGenerationFlag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			f, _ := f.(cli.DocGenerationFlag)
			return f
		}
	}
	return nil
}

// Error texts of packages flag and cli. They have no types for these errors.
const (
	flagUnknown  = "flag provided but not defined: -"
	flagNoValue  = "flag needs an argument: -"
	quotedString = `("(?:[^"\\]|\\.)*")`
)

var (
	flagValue     = regexp.MustCompile(`^invalid (?:boolean )?value ` + quotedString + ` for (?:flag )?-([^:]+): `)
	variableValue = regexp.MustCompile(`^could not parse ` + quotedString + ` as \w+ value from environment variable "(\w+)" for flag ([^:]+): `)
)

// Explain is a command's OnUsageError: it makes a clear error of the library's.
func Explain(c *cli.Context, err error, _ bool) error {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, flagUnknown); ok {
		return unknown(c, strings.TrimLeft(name, "-"))
	}
	if name, ok := strings.CutPrefix(text, flagNoValue); ok {
		return Usage("--%s needs a value", strings.TrimLeft(name, "-"))
	}
	if m := flagValue.FindStringSubmatch(text); m != nil {
		return Usage("%s %s: want %s", Spell(c, m[2]), m[1], wanted(c, m[2]))
	}
	if m := variableValue.FindStringSubmatch(text); m != nil {
		return Usage("%s %s: want %s", m[2], m[1], wanted(c, m[3]))
	}
	return Usage("%s", text)
}

// unknown returns the error for an unknown flag, or an unknown name in a URL.
func unknown(c *cli.Context, name string) error {
	what, dashes := "setting "+strconv.Quote(name), ""
	if c.App.Name != urlApp {
		dashes = strings.Repeat("-", min(len(name), 2))
		what = "flag " + dashes + name
	}
	var names []string
	for _, f := range c.Command.Flags {
		names = append(names, f.Names()[0])
	}
	if near := Nearest(name, names); near != "" && len(name) > 1 { // a single letter is similar to any name
		return Usage("unknown %s: did you mean %s%s?", what, dashes, near)
	}
	return Usage("unknown %s: see --help", what)
}

// wanted says what a flag's value must be.
func wanted(c *cli.Context, name string) string {
	switch find(c.Command.Flags, name).(type) {
	case *cli.DurationFlag:
		return "a duration, such as 500ms, 4s or 1h30m"
	case *cli.BoolFlag:
		return "true or false"
	}
	return "a number"
}

// Nearest returns the name that is most similar to a misspelt one, or "" if none is similar.
// It uses the measure of the library's suggestions, which have no lower limit.
func Nearest(name string, names []string) (near string) {
	const like, prefix = 0.7, 4
	most := like
	for _, n := range names {
		if likeness := smetrics.JaroWinkler(n, name, like, prefix); likeness > most {
			near, most = n, likeness
		}
	}
	return near
}

// Enumerate returns "a, b and c", where and is "and".
func Enumerate(names []string, and string) string {
	last := len(names) - 1
	if last <= 0 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " " + and + " " + names[last]
}
