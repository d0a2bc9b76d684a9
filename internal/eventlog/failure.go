package eventlog

import (
	"context"
	"log/slog"
	"slices"
	"strings"
)

// ErrorLog returns a logger for ErrorLog of [liveness.Config], whose records become lines of
// this log.
func (l *Log) ErrorLog(transport string) *slog.Logger {
	return slog.New(failures{l, []slog.Attr{slog.String(keyTransport, transport)}})
}

// failures is the handler of an ErrorLog.
type failures struct {
	log   *Log
	attrs []slog.Attr
}

func (f failures) Enabled(_ context.Context, level slog.Level) bool { return level >= f.log.level }

func (f failures) WithAttrs(attrs []slog.Attr) slog.Handler {
	f.attrs = slices.Concat(f.attrs, attrs)
	return f
}

func (f failures) WithGroup(string) slog.Handler { return f }

// Handle joins the message and the values of the attributes in one attribute.
func (f failures) Handle(_ context.Context, r slog.Record) error {
	what := []string{strings.TrimPrefix(r.Message, "liveness: ")}
	line := slog.NewRecord(r.Time, r.Level, "failure", 0)
	line.AddAttrs(f.attrs...)
	r.Attrs(func(a slog.Attr) bool {
		what = append(what, a.Value.String())
		return true
	})
	line.AddAttrs(slog.String(keyError, Clean(strings.Join(what, ": "))))
	f.log.put(line)
	return nil
}
