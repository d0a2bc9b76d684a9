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

// process is a command's environment: that of the real process, or a test's. When the
// command's context ends, the command has to end.
type process struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(name string) string
	environ        []string        // all variables, as os.Environ returns them
	hurry          <-chan struct{} // closed by the second signal: end at once

	// hangups returns a channel of the SIGHUPs, which no longer end the command then. Nil in
	// tests without signals.
	hangups func() <-chan struct{}

	// exitTimeout is how long the command waits at its end for blocked output. 0 means a
	// second.
	exitTimeout time.Duration
}

const defaultExitTimeout = time.Second

func (p *process) waitAtMost() time.Duration { return cmp.Or(p.exitTimeout, defaultExitTimeout) }

// terminal reports whether w is a terminal that supports escape sequences, and its width.
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

// drawable reports whether the terminal supports escape sequences. On Windows, new
// terminals set WT_SESSION.
func (p *process) drawable() bool {
	kind := p.getenv("TERM")
	if runtime.GOOS == "windows" && kind == "" {
		return p.getenv("WT_SESSION") != ""
	}
	return kind != "dumb"
}

// colors reports whether output to w may have colours (see no-color.org).
func (p *process) colors(w io.Writer) bool {
	_, ok := p.terminal(w)
	return ok && p.getenv("NO_COLOR") == ""
}

// unicode reports whether the terminal supports UTF-8.
func (p *process) unicode() bool {
	if runtime.GOOS == "windows" {
		return true // all terminals that support escape sequences do
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := strings.ToLower(p.getenv(name)); value != "" {
			return strings.Contains(value, "utf-8") || strings.Contains(value, "utf8")
		}
	}
	return false
}
