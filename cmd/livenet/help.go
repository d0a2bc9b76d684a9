package main

import (
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// HelpPrinter is shared by all apps of the process.
func init() { cli.HelpPrinter = printHelp }

// In these templates, bold makes a heading on a terminal, and the number after wrap is the
// column where the text begins.
const (
	appHelp = `{{.Name}}: {{.Usage}}

{{bold "Usage:"}} {{.Name}} COMMAND [FLAGS]

{{bold "Commands"}}
{{range .VisibleCommands}}{{printf "  %-12s" .Name}}{{wrap .Usage 14}}
{{end}}
{{bold "Flags"}}
{{range .VisibleFlags}}{{printf "  %-12s" (term .)}}{{wrap .Usage 14}}
{{end}}
{{bold "Examples"}}
  livenet demo
  livenet serve --transport quic --policy sliding --timeout 4s
  livenet dial --transport quic 127.0.0.1:7373

See livenet COMMAND --help for each command.
`
	// The command's own CustomHelpTemplate is appended.
	commandHelp = `{{.HelpName}}: {{.Usage}}

{{bold "Usage:"}} {{.HelpName}}{{if groups .}} [FLAGS]{{end}}{{with .ArgsUsage}} {{.}}{{end}}
{{with .Description}}
{{wrap (joined .) 0}}
{{end}}{{range groups .}}
{{bold .Name}}
{{range .Flags}}{{printf "  %-28s" (term .)}}{{unglue (wrap (meaning .) 30)}}
{{end}}{{end}}`
)

// lineBreak matches a line break within a paragraph.
var lineBreak = regexp.MustCompile(`([^\n])\n([^\n])`)

// helpColumns is the width of the help, unless the terminal is narrower. Below leastColumns
// there is no room for two columns.
const (
	helpColumns  = 80
	leastColumns = 50
)

func printHelp(w io.Writer, template string, data any) {
	columns, heading := helpColumns, func(s string) string { return s }
	if out, ok := w.(*output); ok {
		if n, ok := out.process.terminal(w); ok {
			columns = min(max(n, leastColumns), helpColumns)
		}
		if out.process.colors(w) {
			heading = func(s string) string { return "\x1b[1m" + s + "\x1b[0m" }
		}
	}
	cli.HelpPrinterCustom(w, template, data, map[string]any{
		"wrapAt":  func() int { return columns },
		"bold":    heading,
		"groups":  groups,
		"term":    flagTerm,
		"meaning": meaning,
		"joined":  func(s string) string { return lineBreak.ReplaceAllString(s, "$1 $2") },
		"unglue":  func(s string) string { return strings.ReplaceAll(s, glue, " ") },
	})
}

// A group is the flags of one category.
type group struct {
	Name  string
	Flags []cli.Flag
}

// groups returns a command's flags by category, in the order of their definition; the
// library would sort them. It leaves out flags without a category.
func groups(c *cli.Command) []group {
	var list []group
	for _, f := range c.VisibleFlags() {
		name := f.(cli.CategorizableFlag).GetCategory()
		if name == "" {
			continue
		}
		if len(list) == 0 || list[len(list)-1].Name != name {
			list = append(list, group{Name: name})
		}
		last := &list[len(list)-1]
		last.Flags = append(last.Flags, f)
	}
	return list
}

// flagTerm returns a flag's names and the placeholder of its value.
func flagTerm(f cli.DocGenerationFlag) string {
	names := slices.Clone(f.Names())
	slices.Reverse(names) // the short one first
	for i, n := range names {
		names[i] = strings.Repeat("-", min(len(n), 2)) + n
	}
	s := strings.Join(names, ", ")
	if value, _, ok := placeholder(f); ok {
		s += " " + value
	}
	return s
}

// meaning returns a flag's usage, and its default if it has one.
func meaning(f cli.DocGenerationFlag) string {
	_, text, _ := placeholder(f)
	if value := strings.Trim(f.GetDefaultText(), `"`); !slices.Contains([]string{"", "0", "0s", "false"}, value) {
		text += " (default:" + glue + value + ")"
	}
	if s, ok := f.(cli.DocGenerationSliceFlag); ok && s.IsSliceFlag() {
		text += " (may" + glue + "be" + glue + "repeated)"
	}
	return text
}

func placeholder(f cli.DocGenerationFlag) (value, rest string, ok bool) {
	quoted, ok := strings.CutPrefix(f.GetUsage(), "`")
	if !ok {
		return "", f.GetUsage(), false
	}
	return strings.Cut(quoted, "` ")
}

// glue stands for a space at which no line is broken.
const glue = "\x00"
