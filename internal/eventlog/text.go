package eventlog

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
	"unicode"
)

// text is the sink for the text format:
//
//	15:04:05.000 listening  tcp    127.0.0.1:7373         sliding 4s
//	15:04:07.120 opened     tcp    127.0.0.1:51234        #1
//	15:04:07.121 opened     yamux  127.0.0.1:51236        #2.1
//	15:04:29.123 closed     tcp    127.0.0.1:51234        #1 silent after 4.0s (late 3ms), 320 B in, 320 B out
type text struct {
	w     io.Writer
	color bool
}

func (t *text) Handle(_ context.Context, r slog.Record) error {
	b := new(strings.Builder)
	b.WriteString(t.paint(dim, r.Time.Format("15:04:05.000")))
	name := fmt.Sprintf(" %-10s ", r.Message)
	if r.Level >= slog.LevelWarn {
		name = t.paint(yellow, name)
	}
	b.WriteString(name)
	b.WriteString(strings.TrimRight(t.rest(r), " "))
	b.WriteByte('\n')
	_, err := io.WriteString(t.w, b.String())
	return err
}

// rest returns a line's text after the event's name.
func (t *text) rest(r slog.Record) string {
	v := make(map[string]slog.Value, r.NumAttrs())
	r.Attrs(func(a slog.Attr) bool {
		v[a.Key] = a.Value
		return true
	})
	switch {
	case has(v, keyPin) && v[keyMade].Bool():
		return fmt.Sprintf("for development, made now, in %v, %v", v[keyFolder], v[keyPin])
	case has(v, keyPin):
		return fmt.Sprintf("for development, found in %v, %v", v[keyFolder], v[keyPin])
	case has(v, keySkipped):
		return fmt.Sprintf("%v lines within a second%s", v[keySkipped], parts(v))
	case has(v, keySessions) && v[keySessions].Int64() == 1:
		return "after 1 session" + parts(v)
	case has(v, keySessions):
		return fmt.Sprintf("after %v sessions%s", v[keySessions], parts(v))
	case has(v, keyOutput):
		return fmt.Sprintf("%v lines to %v", v[keyLines], v[keyOutput])
	case has(v, keyLines):
		return fmt.Sprintf("%v lines: the reader of this log is too slow", v[keyLines])
	}
	words := []string{fmt.Sprintf("%-5v  %-21v ", v[keyTransport], who(v))}
	if has(v, keyUpstream) {
		words = append(words, v[keyUpstream].String())
	}
	if has(v, keySession) {
		words = append(words, fmt.Sprintf("#%v.%v", v[keySession], v[keyID]))
	} else if has(v, keyID) {
		words = append(words, fmt.Sprintf("#%v", v[keyID]))
	}
	if has(v, keyReason) {
		words = append(words, t.end(v))
	} else if has(v, keyPolicy) {
		words = append(words, v[keyPolicy].String())
	}
	if has(v, keyError) {
		words = append(words, fmt.Sprintf("(%s)", v[keyError].String()))
	}
	return strings.Join(words, " ")
}

// parts returns the counts that make up a total.
func parts(v map[string]slog.Value) string {
	if !has(v, keyOf) {
		return ""
	}
	var list []string
	for _, a := range v[keyOf].Group() {
		list = append(list, fmt.Sprintf("%v %s", a.Value, a.Key))
	}
	return ": " + strings.Join(list, ", ")
}

// who is the address that a line is about: the peer's, or the listener's.
func who(v map[string]slog.Value) string {
	for _, key := range []string{keyRemote, keyAddr} {
		if has(v, key) {
			return v[key].String()
		}
	}
	_, addr, _ := strings.Cut(v[keyListener].String(), "://")
	return addr
}

// end is how a session or a stream ended, with its figures.
func (t *text) end(v map[string]slog.Value) string {
	reason := v[keyReason].String()
	after := millis(v[keyAge])
	if reason == "silent" && v[keyInitiator].String() == "local" {
		after = millis(v[keySilent])
	}
	by := ""
	if v[keyInitiator].String() == "peer" && !strings.HasPrefix(reason, "peer-") {
		by = " by the peer"
	}
	s := t.paint(colorOf(reason), fmt.Sprintf("%s%s after %s", reason, by, Short(after)))
	if late := millis(v[keyLate]); late > 0 {
		s += fmt.Sprintf(" (late %s)", Short(late))
	}
	if n := v[keyBeats].Int64(); n == 1 {
		s += ", 1 beat"
	} else if n > 1 {
		s += fmt.Sprintf(", %d beats", n)
	}
	return s + fmt.Sprintf(", %s in, %s out", Size(v[keyIn].Int64()), Size(v[keyOut].Int64()))
}

func has(v map[string]slog.Value, key string) bool {
	_, ok := v[key]
	return ok
}

func millis(v slog.Value) time.Duration { return time.Duration(v.Int64()) * time.Millisecond }

// Clean makes a peer's text safe to print in a line on a terminal: it replaces control
// characters and invisible ones (bidirectional overrides, zero widths, line separators) by
// question marks.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return '?'
	}, s)
}

// Colours, as SGR parameters of terminals.
const (
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func colorOf(reason string) string {
	switch reason {
	case "done", "peer-closed", "draining":
		return green
	case "silent", "fixed-deadline", "max-age", "no-hello":
		return yellow
	}
	return red
}

func (t *text) paint(color, s string) string {
	if !t.color {
		return s
	}
	return "\x1b[" + color + "m" + s + "\x1b[0m"
}
