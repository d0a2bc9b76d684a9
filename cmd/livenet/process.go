package main

import (
	"cmp"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/term"
)

// process is what a command gets from the process that it runs in, or from a
// test. The end of the command's context asks it to end.
type process struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(name string) string
	environ        []string        // all variables, as os.Environ returns them
	hurry          <-chan struct{} // closed: end at once

	// patience is how long it waits, when it ends, for who does not read. 0 means a second.
	patience time.Duration
}

const defaultPatience = time.Second

func (p *process) waitAtMost() time.Duration { return cmp.Or(p.patience, defaultPatience) }

// terminal reports whether w is a terminal that can be drawn on, and how wide
// it is.
func (p *process) terminal(w io.Writer) (columns int, ok bool) {
	if o, ok := w.(*output); ok {
		w = o.w
	}
	f, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) || !p.drawable() {
		return 0, false
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	return columns, err == nil
}

// typing reports whether stdin is a terminal.
func (p *process) typing() bool {
	f, isFile := p.stdin.(*os.File)
	return isFile && term.IsTerminal(int(f.Fd()))
}

// drawable reports whether terminals here obey escape sequences. Those of
// Windows do if they are new enough to say so.
func (p *process) drawable() bool {
	kind := p.getenv("TERM")
	if runtime.GOOS == "windows" && kind == "" {
		return p.getenv("WT_SESSION") != ""
	}
	return kind != "dumb"
}

// colors reports whether what goes to w may be coloured (see no-color.org).
func (p *process) colors(w io.Writer) bool {
	_, ok := p.terminal(w)
	return ok && p.getenv("NO_COLOR") == ""
}

// unicode reports whether what goes to the terminal may be more than ASCII.
func (p *process) unicode() bool {
	if runtime.GOOS == "windows" {
		return true // those that can be drawn on are
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := strings.ToLower(p.getenv(name)); value != "" {
			return strings.Contains(value, "utf-8") || strings.Contains(value, "utf8")
		}
	}
	return false
}
