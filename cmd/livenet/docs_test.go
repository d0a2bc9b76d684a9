package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the tables of docs/cli.md")

const cliDoc = "../../docs/cli.md"

// The tables of docs/cli.md are what the code says. If they are not:
//
//	go test ./cmd/livenet -run TestDocumentation -update
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile(cliDoc)
	if err != nil {
		t.Fatal(err)
	}
	want := string(text)
	for _, c := range runnable(commands()) {
		want = replaceBetween(t, want, "flags of "+c.name, flagTable(c))
	}
	for _, c := range commands() { // those of a group are its commands', too
		want = replaceBetween(t, want, "statuses of "+c.name, statusTable(c))
	}
	if want == string(text) {
		return
	}
	if !*update {
		t.Fatal("its tables are not what the code says: go test ./cmd/livenet -run TestDocumentation -update")
	}
	if err := os.WriteFile(cliDoc, []byte(want), 0o666); err != nil {
		t.Fatal(err)
	}
}

// runnable are the commands of a list and its groups that do something.
func runnable(list []*command) []*command {
	var all []*command
	for _, c := range list {
		if c.run != nil {
			all = append(all, c)
		}
		all = append(all, runnable(c.commands)...)
	}
	return all
}

// replaceBetween puts a table between a pair of marks.
func replaceBetween(t *testing.T, text, name, table string) string {
	t.Helper()
	begin, end := "<!-- "+name+" -->\n", "<!-- end -->\n"
	before, rest, ok1 := strings.Cut(text, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for the %s", cliDoc, name)
	}
	return before + begin + table + end + after
}

func flagTable(c *command) string {
	b := new(strings.Builder)
	group := ""
	for _, o := range c.options {
		if o.group != group {
			group = o.group
			fmt.Fprintf(b, "\n| %s | default | variable | |\n|---|---|---|---|\n", group)
		}
		def := o.def
		if def != "" {
			def = "`" + def + "`"
		}
		help := o.help
		if o.repeat {
			help += "; may be repeated"
		}
		fmt.Fprintf(b, "| `%s` | %s | `%s` | %s |\n", o.usage(), def, c.variable(o.name), help)
	}
	return b.String() + "\n"
}

func statusTable(c *command) string {
	b := new(strings.Builder)
	b.WriteString("\n| exit status | |\n|---:|---|\n")
	for _, s := range c.statuses {
		fmt.Fprintf(b, "| %d | %s |\n", s.code, s.meaning)
	}
	return b.String() + "\n"
}

// The help fits a terminal, and names every flag with its default.
func TestHelp(t *testing.T) {
	for _, c := range append(runnable(commands()), benchCommand()) {
		status, stdout, stderr := try(t, nil, append(strings.Fields(c.name), "--help")...)
		if status != 0 || stderr != "" {
			t.Errorf("%s --help: exit status %d: %s", c.name, status, stderr)
		}
		for _, o := range c.options {
			if !strings.Contains(stdout, "  "+o.usage()+"  ") {
				t.Errorf("%s --help does not show %s", c.name, o.usage())
			}
			if o.def != "" && !strings.Contains(stdout, "(default: "+o.def+")") {
				t.Errorf("%s --help does not show the default of --%s", c.name, o.name)
			}
		}
		for line := range strings.Lines(stdout) {
			if n := len([]rune(line)) - 1; n > helpWidth {
				t.Errorf("%s --help: %d columns: %s", c.name, n, line)
			}
		}
	}
	status, stdout, _ := try(t, nil)
	if status != 0 || !strings.Contains(stdout, "\n  serve ") || !strings.Contains(stdout, "\n  dial ") || !strings.Contains(stdout, "\n  demo ") || !strings.Contains(stdout, "\n  bench ") {
		t.Errorf("exit status %d:\n%s", status, stdout)
	}
	for said, meant := range map[string]string{"help": "--help", "help bench hold": "bench hold --help", "help help": "--help", "help serve --listen": "serve --help", "version": "--version"} {
		_, want, _ := try(t, nil, strings.Fields(meant)...)
		if status, got, _ := try(t, nil, strings.Fields(said)...); status != 0 || got != want {
			t.Errorf("%s: exit status %d:\n%s", said, status, got)
		}
	}
	if status, stdout, _ := try(t, nil, "--version"); status != 0 || !strings.HasPrefix(stdout, "livenet ") || strings.Count(stdout, "\n") != 1 {
		t.Errorf("--version: exit status %d: %s", status, stdout)
	}
}

// Flags may stand behind the address, too.
func TestFlagsFirst(t *testing.T) {
	options := []option{{name: "transport", value: "NAME"}, {name: "verbose", short: "v"}, {name: "beat", value: "D"}}
	for line, want := range map[string]string{
		"a":                     "a",
		"a --transport quic":    "--transport quic a",
		"a --transport=quic -v": "--transport=quic -v a",
		"-v a --beat -1s b":     "-v --beat -1s a b",
		"a -- --transport quic": "-- a --transport quic",
		"a - --verbose":         "--verbose a -",
		"a --unknown b":         "--unknown a b",
		"--transport":           "--transport",
	} {
		if got := strings.Join(flagsFirst(strings.Fields(line), options), " "); got != want {
			t.Errorf("%q becomes %q, want %q", line, got, want)
		}
	}
}

func TestUnknownCommand(t *testing.T) {
	for name, want := range map[string]string{
		"srve": `livenet: unknown command "srve": did you mean serve?`,
		"xyz":  `livenet: unknown command "xyz": there are serve, dial, demo and bench`,
		"--vx": "livenet: unknown flag --vx: see --help",
	} {
		if status, stdout, stderr := try(t, nil, name); status != statusUsage || stdout != "" || stderr != want+"\n" {
			t.Errorf("%s: exit status %d, %q, %q", name, status, stdout, stderr)
		}
	}
}
