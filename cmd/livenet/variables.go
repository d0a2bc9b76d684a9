package main

import (
	"reflect"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/livenet/livenet/internal/devtls"
	"github.com/livenet/livenet/internal/settings"
)

// variable returns the environment variable of a command's flag. For serve, which is used in
// unit files, it has no command name.
func variable(command, flag string) string {
	if command != "serve" {
		flag = command + "-" + flag
	}
	return settings.VariablePrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// useVariables makes the library read the variables of the flags that are not in args. So an
// invalid variable does not matter if the flag is given. Empty variables are ignored.
func useVariables(p *process, c *cli.Command, args []string) {
	for _, f := range c.Flags {
		name := variable(c.Name, f.Names()[0])
		if p.getenv(name) == "" || f.Names()[0] == flagHelp || gives(args, f) {
			continue
		}
		// All types of flags have this field, and none has a method to set it.
		reflect.ValueOf(f).Elem().FieldByName("EnvVars").Set(reflect.ValueOf([]string{name}))
	}
}

// gives reports whether a flag is among args.
func gives(args []string, f cli.Flag) bool {
	return slices.ContainsFunc(args, func(arg string) bool {
		name, _, _ := strings.Cut(arg, "=")
		return strings.HasPrefix(arg, "-") && slices.Contains(f.Names(), strings.TrimLeft(name, "-"))
	})
}

// checkVariables refuses an unknown variable that begins with LIVENET_.
func checkVariables(p *process, app *cli.App) error {
	known := []string{unprefixed(devtls.Variable)}
	for _, c := range app.VisibleCommands() {
		for _, f := range c.Flags {
			if f.Names()[0] != flagHelp {
				known = append(known, unprefixed(variable(c.Name, f.Names()[0])))
			}
		}
	}
	for _, e := range p.environ {
		name, value, _ := strings.Cut(e, "=")
		rest, ours := strings.CutPrefix(name, settings.VariablePrefix)
		if !ours || value == "" || slices.Contains(known, rest) {
			continue
		}
		if near := settings.Nearest(rest, known); near != "" {
			return settings.Usage("unknown variable %s: did you mean %s%s?", name, settings.VariablePrefix, near)
		}
		return settings.Usage("unknown variable %s: see --help", name)
	}
	return nil
}

// unprefixed removes the common prefix, which would make all names similar.
func unprefixed(variable string) string { return strings.TrimPrefix(variable, settings.VariablePrefix) }
