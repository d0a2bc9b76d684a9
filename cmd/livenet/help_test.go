package main

import (
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// The help fits a terminal, and has every flag with its default and every exit status.
func TestHelp(t *testing.T) {
	for _, c := range newApp(newTrial(t).process()).VisibleCommands() {
		status, stdout, stderr := try(t, nil, c.Name, "--help")
		if status != 0 || stderr != "" {
			t.Errorf("%s --help: exit status %d: %s", c.Name, status, stderr)
		}
		for _, f := range c.Flags {
			f := f.(cli.DocGenerationFlag)
			if f.Names()[0] == flagHelp {
				continue
			}
			if !strings.Contains(stdout, "  "+flagTerm(f)+"  ") {
				t.Errorf("%s --help does not show %s", c.Name, flagTerm(f))
			}
			if def := strings.Trim(f.GetDefaultText(), `"`); len(def) > 2 && def != "false" && !strings.Contains(stdout, "(default: "+def+")") {
				t.Errorf("%s --help does not show the default of --%s, %s", c.Name, f.Names()[0], def)
			}
		}
		for line := range strings.Lines(stdout) {
			if n := len([]rune(line)) - 1; n > helpColumns || strings.HasSuffix(line, " \n") || strings.ContainsAny(line, "`\x00\x1b") {
				t.Errorf("%s --help: %d columns: %q", c.Name, n, line)
			}
		}
		if again, want := stdout, " "+c.Name; !strings.Contains(again, want) {
			t.Errorf("%s --help: %s", c.Name, again)
		}
	}
	status, stdout, _ := try(t, nil)
	if status != 0 || !strings.Contains(stdout, "\n  serve ") || !strings.Contains(stdout, "\n  dial ") || !strings.Contains(stdout, "\n  demo ") {
		t.Errorf("exit status %d:\n%s", status, stdout)
	}
	for said, meant := range map[string]string{"help": "--help", "help demo": "demo --help", "help help": "--help", "help serve --listen": "serve --help", "version": "--version", "dial -h": "dial --help"} {
		_, want, _ := try(t, nil, strings.Fields(meant)...)
		if status, got, _ := try(t, nil, strings.Fields(said)...); status != 0 || got != want {
			t.Errorf("%s: exit status %d:\n%s", said, status, got)
		}
	}
	if status, stdout, _ := try(t, nil, "--version"); status != 0 || !strings.HasPrefix(stdout, "livenet ") || strings.Count(stdout, "\n") != 1 {
		t.Errorf("--version: exit status %d: %s", status, stdout)
	}
}

// Groups and flags are in the order of their definition.
func TestHelpOrder(t *testing.T) {
	_, help, _ := try(t, nil, "serve", "--help")
	at := 0
	for _, s := range []string{"\nListener\n", "--listen ADDR", "--transport NAME", "\nPolicy\n", "--timeout DURATION", "\nTLS\n", "--tls-cert FILE",
		"\nProcess\n", "--listener URL", "(may be repeated)", "\nExit status\n", "\nExamples\n"} {
		i := strings.Index(help[at:], s)
		if i < 0 {
			t.Fatalf("no %q after\n%s", s, help[:at])
		}
		at += i
	}
}

// Help works whatever the variables are, even with a misspelt one.
func TestHelpIgnoresVariables(t *testing.T) {
	env := map[string]string{"LIVENET_TIMEUOT": "4s"}
	for _, args := range []string{"", "serve --help", "help serve", "completion bash", "version"} {
		if status, _, stderr := try(t, env, strings.Fields(args)...); status != 0 || stderr != "" {
			t.Errorf("%s: exit status %d: %s", args, status, stderr)
		}
	}
	if status, _, stderr := try(t, env, "demo"); status != statusUsage || stderr != "livenet demo: unknown variable LIVENET_TIMEUOT: did you mean LIVENET_TIMEOUT?\n" {
		t.Errorf("demo: exit status %d: %s", status, stderr)
	}
}

// Flags may follow the address.
func TestFlagsFirst(t *testing.T) {
	options := []cli.Flag{&cli.StringFlag{Name: "transport"}, &cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}}, &cli.DurationFlag{Name: "beat"}}
	for line, want := range map[string]string{
		"a":                       "a",
		"a --transport quic":      "--transport quic a",
		"a --transport=quic -v":   "--transport=quic -v a",
		"-v a --beat -1s b":       "-v --beat -1s a b",
		"a -- --transport quic":   "-- a --transport quic",
		"a - --verbose":           "--verbose a -",
		"a --unknown b":           "--unknown a b",
		"--transport":             "--transport",
		"a --t " + completionMark: "a --t " + completionMark,
	} {
		if got := strings.Join(flagsFirst(strings.Fields(line), options), " "); got != want {
			t.Errorf("%q becomes %q, want %q", line, got, want)
		}
	}
}

func TestUnknownCommand(t *testing.T) {
	for name, want := range map[string]string{
		"srve": `livenet: unknown command "srve": did you mean serve?`,
		"xyz":  `livenet: unknown command "xyz": there are serve, dial, tunnel, demo and completion`,
		"--vx": "livenet: unknown flag --vx: see --help",
	} {
		if status, stdout, stderr := try(t, nil, name); status != statusUsage || stdout != "" || stderr != want+"\n" {
			t.Errorf("%s: exit status %d, %q, %q", name, status, stdout, stderr)
		}
	}
}
