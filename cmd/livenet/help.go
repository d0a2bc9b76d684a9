package main

import (
	"fmt"
	"strings"
)

const (
	helpWidth  = 80
	helpIndent = 30 // of what a flag is for
)

// literal makes a template that yields just this text.
func literal(text string) string { return "{{" + fmt.Sprintf("%q", text) + "}}" }

// overview is the program's help.
func overview() string {
	b := new(strings.Builder)
	b.WriteString("livenet: connections that end when their other end is gone\n\nUsage: livenet COMMAND [FLAGS]\n\nCommands\n")
	for _, c := range commands() {
		entry(b, c.name, 10, c.summary)
	}
	b.WriteString("\nFlags\n")
	entry(b, "--help", 14, "show this help, or a command's")
	entry(b, "--version", 14, "show the version")
	b.WriteString("\nExamples\n")
	for _, line := range []string{
		"livenet demo",
		"livenet serve --transport quic --policy sliding --timeout 4s",
		"livenet dial --transport quic 127.0.0.1:7373",
		"livenet bench renew",
	} {
		fmt.Fprintf(b, "  %s\n", line)
	}
	return b.String()
}

// help is a command's.
func (c *command) help() string {
	b := new(strings.Builder)
	fmt.Fprintf(b, "livenet %s: %s\n\n", c.name, c.summary)
	if c.run == nil {
		fmt.Fprintf(b, "Usage: livenet %s COMMAND [FLAGS]\n", c.name)
	} else {
		fmt.Fprintf(b, "Usage: livenet %s [FLAGS]%s\n", c.name, c.args)
	}
	for _, paragraph := range strings.Split(c.about, "\n\n") {
		b.WriteByte('\n')
		for _, line := range wrap(strings.ReplaceAll(paragraph, "\n", " "), helpWidth) {
			b.WriteString(line + "\n")
		}
	}
	if c.run == nil {
		c.listCommands(b)
	} else {
		c.listFlags(b)
	}
	return b.String()
}

// listCommands is the rest of a group's help.
func (c *command) listCommands(b *strings.Builder) {
	b.WriteString("\nCommands\n")
	for _, sub := range c.commands {
		entry(b, sub.word(), 10, sub.summary)
	}
	fmt.Fprintf(b, "\nExamples\n%s\n\nlivenet %s COMMAND --help says more.\n", c.examples, c.name)
}

// listFlags is the rest of the help of any other command.
func (c *command) listFlags(b *strings.Builder) {
	group := ""
	for _, o := range c.options {
		if o.group != group {
			group = o.group
			fmt.Fprintf(b, "\n%s\n", group)
		}
		entry(b, o.usage(), helpIndent, o.helpText())
	}
	b.WriteString("\nExit status\n")
	for _, s := range c.statuses {
		entry(b, fmt.Sprintf("%3d", s.code), 8, s.meaning)
	}
	fmt.Fprintf(b, "\nExamples\n%s\n", c.examples)
	example := c.options[0].name
	fmt.Fprintf(b, "\nEvery flag has a variable: --%s is %s.\n", example, c.variable(example))
}

// usage is a flag and what follows it.
func (o option) usage() string {
	s := "--" + o.name
	if o.short != "" {
		s = "-" + o.short + ", " + s
	}
	if o.value != "" {
		s += " " + o.value
	}
	return s
}

func (o option) helpText() string {
	text := o.help
	if o.def != "" {
		text += " (default:" + glue + o.def + ")"
	}
	if o.repeat {
		text += " (may be" + glue + "repeated)"
	}
	return text
}

// entry writes a term and what it means, wrapped, in columns.
func entry(b *strings.Builder, term string, indent int, meaning string) {
	head := fmt.Sprintf("  %-*s", indent-2, term)
	for i, line := range wrap(meaning, helpWidth-indent) {
		if i == 0 && len(head) > indent {
			fmt.Fprintf(b, "%s\n", head)
		}
		if i > 0 || len(head) > indent {
			head = strings.Repeat(" ", indent)
		}
		fmt.Fprintf(b, "%s%s\n", head, line)
	}
}

// glue is a space at which a line is not to be broken.
const glue = "\x00"

// wrap breaks text into lines.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += strings.ReplaceAll(word, glue, " ")
	}
	return append(lines, line)
}
