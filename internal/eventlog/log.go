package eventlog

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livenet/livenet/liveness"
)

// Format is the format of lines.
type Format string

const (
	Text Format = "text"
	JSON Format = "json"
)

// Options configure a Log.
type Options struct {
	Format Format     // the zero value is Text
	Level  slog.Level // the least that is written
	Color  bool       // in text
	Rate   int        // most lines a second about sessions and streams; 0: all
}

// Log writes events. Its methods may be called at once from any goroutine.
type Log struct {
	level slog.Level
	sink  sink
	queue chan slog.Record
	lost  atomic.Int64

	sample sampler

	once  sync.Once
	quit  chan struct{} // closed by Close
	ended chan struct{} // closed by the writing goroutine
}

// A sink turns a record into a line. The handlers of log/slog are sinks.
type sink interface {
	Handle(context.Context, slog.Record) error
}

// queueLength is how many lines may wait for a slow reader. A mass expiry of several thousand
// sessions fits.
const queueLength = 1 << 14

// New starts a log. It must be closed.
func New(w io.Writer, o Options) *Log {
	l := start(sinkFor(w, o), o.Level, queueLength)
	l.sample.most, l.sample.report = o.Rate, l.skippedLine
	return l
}

func sinkFor(w io.Writer, o Options) sink {
	w = &Writer{W: w}
	if o.Format == JSON {
		return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: o.Level})
	}
	return &text{w: w, color: o.Color}
}

func start(s sink, level slog.Level, length int) *Log {
	l := &Log{
		level: level,
		sink:  s,
		queue: make(chan slog.Record, length),
		quit:  make(chan struct{}),
		ended: make(chan struct{}),
	}
	go l.write()
	return l
}

// Event writes an event.
func (l *Log) Event(e liveness.Event) {
	if level := levelOf(e); level >= l.level && l.sample.pass(e) {
		r := slog.NewRecord(e.Time, level, e.What.String(), 0)
		r.AddAttrs(attributes(e)...)
		l.put(r)
	}
}

// Certificate writes the folder of the development certificate, and the pin of its key, which
// clients on other machines need.
func (l *Log) Certificate(folder, pin string, made bool) {
	if l.level > slog.LevelInfo {
		return
	}
	r := slog.NewRecord(time.Now(), slog.LevelInfo, "certificate", 0)
	r.AddAttrs(slog.String(keyFolder, folder), slog.Bool(keyMade, made), slog.String(keyPin, pin))
	l.put(r)
}

// Stopped writes that serving has ended, and how many sessions of all servers ended for each
// reason.
func (l *Log) Stopped(servers ...liveness.Counts) {
	if l.level > slog.LevelInfo {
		return
	}
	l.sample.flush()
	of := make(map[string]int64)
	for _, s := range servers {
		for reason, n := range s.Closed {
			of[reason.String()] += int64(n)
		}
		for reason, n := range s.Claimed {
			of[claimed+reason.String()] += int64(n)
		}
	}
	r := slog.NewRecord(time.Now(), slog.LevelInfo, "stopped", 0)
	total, counts := tally(of)
	r.AddAttrs(slog.Int64(keySessions, total), slog.Group(keyOf, counts...))
	l.put(r)
}

// Upstream writes that a listener's upstream can't be dialled, with the cause in a word or two,
// or, if cause is empty, that it can be dialled again.
func (l *Log) Upstream(listener, transport, upstream, cause string) {
	level, what := slog.LevelInfo, "upstream-up"
	if cause != "" {
		level, what = slog.LevelWarn, "upstream-down"
	}
	if l.level > level {
		return
	}
	r := slog.NewRecord(time.Now(), level, what, 0)
	r.AddAttrs(slog.String(keyListener, listener), slog.String(keyTransport, transport), slog.String(keyUpstream, upstream))
	if cause != "" {
		r.AddAttrs(slog.String(keyError, cause))
	}
	l.put(r)
}

func (l *Log) put(r slog.Record) {
	select {
	case l.queue <- r:
	default:
		l.lost.Add(1)
	}
}

// write is the goroutine that writes.
func (l *Log) write() {
	defer close(l.ended)
	for {
		select {
		case r := <-l.queue:
			l.line(r)
		case <-l.quit:
			l.rest()
			return
		}
	}
}

// rest writes what was queued before Close, since select may choose quit first.
func (l *Log) rest() {
	for {
		select {
		case r := <-l.queue:
			l.line(r)
		default:
			l.reportLost()
			return
		}
	}
}

// line writes r, and then how many lines were lost meanwhile. A line that can't be written
// counts as lost.
func (l *Log) line(r slog.Record) {
	if l.sink.Handle(context.Background(), r) != nil {
		l.lost.Add(1)
		return
	}
	l.reportLost()
}

func (l *Log) reportLost() {
	if n := l.lost.Swap(0); n > 0 && l.sink.Handle(context.Background(), lostLine(n)) != nil {
		l.lost.Add(n)
	}
}

func lostLine(n int64) slog.Record {
	r := slog.NewRecord(time.Now(), slog.LevelWarn, "lost", 0)
	r.AddAttrs(slog.Int64(keyLines, n))
	return r
}

// Lost writes that n lines to another output were lost.
func (l *Log) Lost(output string, n int64) {
	r := lostLine(n)
	r.AddAttrs(slog.String(keyOutput, output))
	l.put(r)
}

// Close writes the queued lines and ends the log. If writing blocks, it gives up when ctx
// ends. Later events are not written.
func (l *Log) Close(ctx context.Context) error {
	l.once.Do(func() {
		l.sample.flush()
		close(l.quit)
	})
	select {
	case <-l.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
