package eventlog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

var (
	local  = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7373}
	remote = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 51234}
	at     = time.Date(2024, 2, 3, 15, 4, 5, 0, time.UTC)
)

func event(what liveness.EventKind) liveness.Event {
	return liveness.Event{
		What: what, Time: at, Listener: "tcp://127.0.0.1:7373", Transport: "tcp", Policy: "sliding 4s",
	}
}

func session(what liveness.EventKind) liveness.Event {
	e := event(what)
	e.ID, e.Local, e.Remote = 12, local, remote
	return e
}

func closed(end liveness.Error) liveness.Event {
	e := session(liveness.Closed)
	e.End = &end
	e.Beats, e.BytesIn, e.BytesOut = 10, 320, 1500
	return e
}

func silent() liveness.Event {
	e := closed(liveness.Error{Reason: liveness.Silent, Age: 22*time.Second + 9*time.Millisecond, Silence: 4*time.Second + 999*time.Microsecond})
	e.Late = 3*time.Millisecond + 999*time.Microsecond
	e.RTT = 1234 * time.Microsecond
	return e
}

func stream(e liveness.Event) liveness.Event {
	e.Kind, e.Session, e.ID = liveness.KindStream, 12, 13
	return e
}

// write returns what a log writes for events.
func write(t *testing.T, o Options, events ...liveness.Event) string {
	t.Helper()
	var b bytes.Buffer
	l := New(&b, o)
	for _, e := range events {
		l.Event(e)
	}
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// What liveness logs beside its events comes in the same format.
func TestFailures(t *testing.T) {
	for format, want := range map[Format]string{
		JSON: `"level":"ERROR","msg":"failure","transport":"yamux","listener":"yamux://127.0.0.1:7373","kind":"stream","id":13,"session":12,"error":"a handler failed: boom?in main.go"}` + "\n",
		Text: ` failure    yamux  127.0.0.1:7373         #12.13 (a handler failed: boom?in main.go)` + "\n",
	} {
		var b bytes.Buffer
		l := New(&b, Options{Format: format})
		l.ErrorLog("yamux").With("listener", "yamux://127.0.0.1:7373").With("kind", liveness.KindStream.String(), "id", 13, "session", 12).
			Error("liveness: a handler failed", "error", errors.New("boom\nin main.go"))
		if err := l.Close(t.Context()); err != nil || !strings.HasSuffix(b.String(), want) {
			t.Errorf("got  %swant %s%v", b.String(), want, err)
		}
	}
}

// The names must not change, because programs read the lines.
func TestJSONFields(t *testing.T) {
	const (
		always  = "time level msg "
		subject = always + "id kind listener transport local remote policy "
		ending  = "reason initiator age_ms silent_ms late_ms beats bytes_in bytes_out "
	)
	listening := event(liveness.Listening)
	listening.Addr = local
	failed := event(liveness.AcceptFailed)
	failed.Addr, failed.Err = local, errors.New("too many open files")
	broken := closed(liveness.Error{Reason: liveness.ProtocolError, Text: "frame: unknown kind 9"})
	for _, test := range []struct {
		event liveness.Event
		keys  string
	}{
		{listening, always + "listener transport addr policy"},
		{session(liveness.Opened), subject},
		{silent(), subject + ending + "rtt_us"},
		{closed(liveness.Error{}), subject + ending},
		{broken, subject + ending + "error"},
		{stream(session(liveness.Opened)), subject + "session"},
		{stream(silent()), subject + ending + "rtt_us session"},
		{failed, always + "listener transport addr error"},
		{event(liveness.DrainBegan), always + "listener transport"},
	} {
		line := write(t, Options{Format: JSON, Level: slog.LevelDebug}, test.event)
		var got map[string]any
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		want := strings.Fields(test.keys)
		slices.Sort(want)
		if keys := slices.Sorted(maps.Keys(got)); !slices.Equal(keys, want) {
			t.Errorf("%v of a %v:\n got %v\nwant %v", test.event.What, test.event.Kind, keys, want)
		}
	}
}

func TestJSONValues(t *testing.T) {
	got := write(t, Options{Format: JSON}, silent())
	const want = `{"time":"2024-02-03T15:04:05Z","level":"INFO","msg":"closed","id":12,"kind":"session",` +
		`"listener":"tcp://127.0.0.1:7373","transport":"tcp","local":"127.0.0.1:7373","remote":"127.0.0.1:51234","policy":"sliding 4s",` +
		`"reason":"silent","initiator":"local","age_ms":22009,"silent_ms":4000,"late_ms":3,"beats":10,"bytes_in":320,"bytes_out":1500,"rtt_us":1234}` + "\n"
	if got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestText(t *testing.T) {
	listening := event(liveness.Listening)
	listening.Addr = local
	failed := event(liveness.AcceptFailed)
	failed.Addr, failed.Err = local, errors.New("too many open files")
	words := closed(liveness.Error{Reason: liveness.Kicked, Initiator: liveness.Peer, Age: time.Minute, Text: "be\x1b[31mgone\n"})
	words.Beats = 1
	left := closed(liveness.Error{Reason: liveness.PeerClosed, Initiator: liveness.Peer, Age: 350 * time.Millisecond})
	left.Beats = 0
	gone := closed(liveness.Error{Reason: liveness.PeerReset, Initiator: liveness.Peer, Err: &transport.CloseError{Origin: transport.Peer, Reset: true}})
	got := write(t, Options{Level: slog.LevelDebug},
		listening, session(liveness.Opened), silent(), stream(silent()), words, left, gone, failed, event(liveness.DrainBegan))
	const want = `15:04:05.000 listening  tcp    127.0.0.1:7373         sliding 4s
15:04:05.000 opened     tcp    127.0.0.1:51234        #12 sliding 4s
15:04:05.000 closed     tcp    127.0.0.1:51234        #12 silent after 4.0s (late 3ms), 10 beats, 320 B in, 1.5 kB out
15:04:05.000 closed     tcp    127.0.0.1:51234        #12.13 silent after 4.0s (late 3ms), 10 beats, 320 B in, 1.5 kB out
15:04:05.000 closed     tcp    127.0.0.1:51234        #12 kicked by the peer after 1m0s, 1 beat, 320 B in, 1.5 kB out (be?[31mgone?)
15:04:05.000 closed     tcp    127.0.0.1:51234        #12 peer-closed after 350ms, 320 B in, 1.5 kB out
15:04:05.000 closed     tcp    127.0.0.1:51234        #12 peer-reset after 0ms, 10 beats, 320 B in, 1.5 kB out
15:04:05.000 accept-failed tcp    127.0.0.1:7373         (too many open files)
15:04:05.000 draining   tcp    127.0.0.1:7373
`
	if got != want {
		t.Errorf("\n%s\nwant\n%s", got, want)
	}
}

func TestColor(t *testing.T) {
	if got := write(t, Options{Color: true}, silent()); !strings.Contains(got, "\x1b[33msilent after 4.0s\x1b[0m") {
		t.Errorf("no colour: %q", got)
	}
	if got := write(t, Options{Color: true, Format: JSON}, silent()); strings.Contains(got, "\x1b") {
		t.Errorf("JSON with colour: %q", got)
	}
}

func TestLevels(t *testing.T) {
	quiet := stream(session(liveness.Opened)) // its session answers for it
	quiet.Policy = ""
	failed := event(liveness.AcceptFailed)
	for _, test := range []struct {
		level slog.Level
		want  int
	}{
		{slog.LevelDebug, 4}, {slog.LevelInfo, 3}, {slog.LevelWarn, 1}, {slog.LevelError, 0},
	} {
		got := write(t, Options{Level: test.level}, session(liveness.Opened), stream(session(liveness.Opened)), quiet, failed)
		if n := strings.Count(got, "\n"); n != test.want {
			t.Errorf("at %v: %d lines, want %d:\n%s", test.level, n, test.want, got)
		}
	}
}

func TestCertificate(t *testing.T) {
	var b bytes.Buffer
	l := New(&b, Options{})
	l.Certificate("/data", "sha256:12", true)
	l.Certificate("/data", "sha256:12", false)
	l.Close(t.Context())
	if got := b.String(); !strings.Contains(got, " certificate for development, made now, in /data, sha256:12\n") ||
		!strings.Contains(got, " certificate for development, found in /data, sha256:12\n") {
		t.Error(got)
	}
}

// A stuck is a writer that blocks until let is closed.
type stuck struct {
	took  bytes.Buffer
	busy  chan struct{} // closed when the first write has begun
	let   chan struct{}
	begun bool
}

func newStuck() *stuck { return &stuck{busy: make(chan struct{}), let: make(chan struct{})} }

func (s *stuck) Write(p []byte) (int, error) {
	if !s.begun {
		s.begun = true
		close(s.busy)
	}
	<-s.let
	return s.took.Write(p)
}

// Events never wait for a blocked reader, and a line says how many were lost.
func TestLostLinesAreCounted(t *testing.T) {
	const length, lost = 8, 5
	w := newStuck()
	l := start(sinkFor(w, Options{}), slog.LevelInfo, length)
	l.Event(silent())
	<-w.busy // that one is out of the queue
	for range length + lost {
		l.Event(silent())
	}
	close(w.let)
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := w.took.String()
	if n := strings.Count(got, " closed "); n != 1+length {
		t.Errorf("%d lines, want %d", n, 1+length)
	}
	if !strings.Contains(got, " lost       5 lines: the reader of this log is too slow\n") {
		t.Errorf("nothing about the lost ones:\n%s", got)
	}
}

// Lines queued before Close are written, even if the writer sees both at once.
func TestCloseWritesWhatIsQueued(t *testing.T) {
	for range 100_000 {
		var b bytes.Buffer
		l := start(sinkFor(&b, Options{}), slog.LevelInfo, 1)
		l.Event(event(liveness.DrainBegan))
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if b.Len() == 0 {
			t.Fatal("the line is lost")
		}
	}
}

// When very many sessions end at once, some have their own lines, and the others one together.
func TestMassFailureIsSampled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text, json bytes.Buffer
		for format, w := range map[Format]*bytes.Buffer{Text: &text, JSON: &json} {
			l := New(w, Options{Format: format, Rate: 10})
			for range 1000 {
				l.Event(silent())
			}
			forged := silent()
			forged.End = &liveness.Error{Reason: liveness.Internal, Initiator: liveness.Peer}
			l.Event(forged)
			l.Event(liveness.Event{What: liveness.DrainBegan}) // always logged
			time.Sleep(2 * time.Second)
			synctest.Wait()
			e := silent()
			e.Time = e.Time.Add(2 * time.Second)
			l.Event(e) // another second
			if err := l.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := strings.Count(text.String(), " closed "); n != 11 {
			t.Errorf("%d lines, want 11", n)
		}
		if !strings.Contains(text.String(), "skipped    991 lines within a second: 990 silent, 1 peer:internal\n") {
			t.Errorf("nothing about the others:\n%s", &text)
		}
		if !strings.Contains(json.String(), `"msg":"skipped","skipped":991,"of":{"silent":990,"peer:internal":1}}`) {
			t.Errorf("nothing about the others:\n%s", &json)
		}
		if !strings.Contains(json.String(), `"msg":"draining"`) {
			t.Error("an event that is not a session's is missing")
		}
	})
}

func TestCloseGivesUpOnAStuckReader(t *testing.T) {
	w := newStuck()
	l := New(w, Options{})
	l.Event(silent())
	<-w.busy
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	l.Event(silent()) // after Close: ignored
	close(w.let)
	<-l.ended
}

func TestFigures(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0ms", 900 * time.Microsecond: "0ms", 350 * time.Millisecond: "350ms", 999 * time.Millisecond: "999ms",
		time.Second: "1.0s", 3999 * time.Millisecond: "3.9s", 10 * time.Second: "10.0s", 90 * time.Second: "1m30s", time.Hour: "1h0m0s",
	} {
		if got := Short(d); got != want {
			t.Errorf("Short(%v) = %s, want %s", d, got, want)
		}
	}
	for n, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 kB", 1500: "1.5 kB", 999_949: "999.9 kB", 999_951: "1.0 MB", 2_000_000_000: "2.0 GB", 3e15: "3000.0 TB",
	} {
		if got := Size(n); got != want {
			t.Errorf("Size(%d) = %s, want %s", n, got, want)
		}
	}
}

// docs/cli.md explains every field.
func TestFieldsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{keyAddr, keyID, keyKind, keySession, keyListener, keyTransport, keyLocal, keyRemote, keyPolicy,
		keyReason, keyInitiator, keyAge, keySilent, keyLate, keyBeats, keyIn, keyOut, keyRTT, keyError, keyFolder, keyPin, keyMade, keyLines} {
		if !bytes.Contains(text, []byte("| `"+key+"` |")) {
			t.Errorf("docs/cli.md does not explain %s", key)
		}
	}
}

// A peer's text can't control the terminal or add lines, in either format.
func TestClean(t *testing.T) {
	for text, want := range map[string]string{
		"a\nb\tc": "a?b?c", "a\u009b31mb": "a?31mb", "a\x7fb": "a?b", "a\u202eb": "a?b", "a\u2066b": "a?b", "a\u200bb": "a?b",
		"a\u2028b\u2029c": "a?b?c", "a\ufeffb": "a?b", "zürich 東京 🙂": "zürich 東京 🙂",
	} {
		failed := event(liveness.AcceptFailed)
		failed.Err = errors.New(text)
		for _, e := range []liveness.Event{closed(liveness.Error{Reason: liveness.Kicked, Text: text}), failed} {
			for _, format := range []Format{Text, JSON} {
				if got := write(t, Options{Format: format}, e); !strings.Contains(got, want) {
					t.Errorf("%q as %s: %q", text, format, got)
				}
			}
			if got := e.String(); e.Err == nil && !strings.ContainsAny(text, "\n") && !strings.Contains(got, want) {
				t.Errorf("%q as an event: %q", text, got)
			}
		}
	}
}

// Failures to accept have no more lines than --log-rate allows.
func TestFailuresToAcceptAreSampled(t *testing.T) {
	failed := event(liveness.AcceptFailed)
	failed.Err = errors.New("too many open files")
	got := write(t, Options{Rate: 1}, failed, failed, failed)
	if strings.Count(got, "\n") != 2 || !strings.Contains(got, "2 lines within a second: 2 accept-failed") {
		t.Errorf("got %q", got)
	}
}

// A faulty writer returns its answers in turn: a number of bytes and an error.
type faulty struct {
	bytes.Buffer
	answers []answer // after the last all is well
}

type answer struct {
	n   int
	err error
}

func (f *faulty) Write(p []byte) (int, error) {
	if len(f.answers) == 0 {
		return f.Buffer.Write(p)
	}
	a := f.answers[0]
	f.answers = f.answers[1:]
	n, _ := f.Buffer.Write(p[:a.n])
	return n, a.err
}

// A line that can't be written is counted. After EAGAIN a line is retried. No line is appended
// to a truncated one.
func TestUnwrittenLinesAreCounted(t *testing.T) {
	for _, format := range []Format{Text, JSON} {
		for _, test := range []struct {
			answers []answer
			whole   int // lines, of 3
			lost    bool
		}{
			{[]answer{{0, syscall.EAGAIN}, {5, syscall.EAGAIN}, {0, syscall.EAGAIN}}, 3, false},
			{[]answer{{0, syscall.ENOSPC}}, 2, true},
			{[]answer{{5, syscall.ENOSPC}}, 2, true},
			{[]answer{{0, syscall.ENOSPC}, {0, syscall.ENOSPC}, {0, syscall.ENOSPC}}, 0, true},
		} {
			w := &faulty{answers: test.answers}
			l := New(w, Options{Format: format})
			for range 3 {
				l.Event(session(liveness.Opened))
			}
			if err := l.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			whole, lost := 0, false
			for line := range strings.Lines(w.String()) {
				if strings.Count(line, "opened") == 1 && strings.Contains(line, "12") {
					whole++
				}
				if strings.Contains(line, "lost") {
					lost = strings.Contains(line, strconv.Itoa(3-test.whole)+" lines") || strings.Contains(line, fmt.Sprintf(`"lines":%d}`, 3-test.whole))
				}
			}
			if whole != test.whole || lost != test.lost {
				t.Errorf("%s, %v: %d whole lines, lost told: %v\n%s", format, test.answers, whole, lost, w)
			}
		}
	}
}
