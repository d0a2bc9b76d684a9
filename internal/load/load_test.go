package load

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livenet/livenet/internal/bench"
)

// steps are what a run says of itself.
type steps struct {
	mu   sync.Mutex
	said []string
	hear func(what string) // called with each
}

func (s *steps) Step(what string, done, total float64) {
	s.mu.Lock()
	s.said = append(s.said, what)
	if done < 0 || done > total {
		s.said = append(s.said, fmt.Sprintf("%s: %v of %v", what, done, total))
	}
	s.mu.Unlock()
	if s.hear != nil {
		s.hear(what)
	}
}

// at has f called when the run says that it has come so far.
func at(where string, f func()) *steps {
	return &steps{hear: func(what string) {
		if strings.HasPrefix(what, where) {
			f()
		}
	}}
}

// row is a table's n-th row, by its keys.
func row(t *testing.T, r *bench.Report, table string, n int) map[string]any {
	t.Helper()
	for _, tab := range r.Tables {
		if tab.Key != table || n >= len(tab.Rows) {
			continue
		}
		row := make(map[string]any)
		for i, c := range tab.Columns {
			row[c.Key] = tab.Rows[n][i]
		}
		return row
	}
	t.Fatalf("no row %d in the table %s of %+v", n, table, r)
	return nil
}

// soon is how long a hold may take on a machine that does a lot of other things.
const soon = 60 * time.Second

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	t.Cleanup(cancel)
	return ctx
}

// All sessions that beat are there to the end, whatever the transport and
// however many processes there are.
func TestHold(t *testing.T) {
	for _, test := range []Hold{
		{Transport: "tcp", Codec: "raw", IO: Goroutine},
		{Transport: "tcp", Codec: "raw", IO: Parked},
		{Transport: "tcp", Codec: "raw", IO: Blocking},
		{Transport: "tcp", Codec: "frame", IO: Parked, Servers: 2, Clients: 3},
		{Transport: "tcp", Codec: "frame", IO: Goroutine, Servers: 3, Clients: 2, ReusePort: true},
		{Transport: "yamux", Codec: "frame", IO: Blocking, Servers: 2},
		{Transport: "yamux", Codec: "frame", Servers: 2, ReusePort: true},
		{Transport: "quic", Codec: "frame", Clients: 2},
		{Transport: "quic", Codec: "frame", Servers: 2, ReusePort: true},
	} {
		t.Run(fmt.Sprintf("%s,%s,%s,%d,%d,%v", test.Transport, test.Codec, test.IO, test.Servers, test.Clients, test.ReusePort), func(t *testing.T) {
			t.Parallel()
			test.Sessions, test.Beat, test.Timeout, test.For = 200, 500*time.Millisecond, 20*time.Second, 1500*time.Millisecond
			test.Command = ourselves(t)
			var said steps
			r, err := test.Run(within(t), &said)
			if err != nil {
				t.Fatal(err)
			}
			got := row(t, r, "rows", 0)
			if got["sessions"] != 200 || got["false_kills"] != 0 || got["lost"] != 0 {
				t.Errorf("got %v", got)
			}
			// 400 a second are asked for.
			if beats := got["beats_per_s"].(float64); beats < 100 || beats > 1000 {
				t.Errorf("%v beats a second", beats)
			}
			if m := row(t, r, "memory", 1); m["what"] != "server-heap" || m["bytes_per_session"].(float64) < 200 {
				t.Errorf("memory: %v", m)
			}
			for i, what := range []string{"servers", "clients"} {
				if p := row(t, r, "processors", i); p["what"] != what || p["processes"].(int) < 1 {
					t.Errorf("processors: %v", p)
				}
			}
			text := strings.Join(said.said, "\n")
			for _, what := range []string{"starting ", "connecting 200/200", "settling", "measuring", "holding 200", "closing"} {
				if !strings.Contains(text, what) {
					t.Errorf("the progress has no %q:\n%s", what, text)
				}
			}
			if strings.Contains(text, " of ") {
				t.Errorf("the progress goes too far:\n%s", text)
			}
		})
	}
}

// The profiles are such that pprof reads, and of a file that can't be written to is
// told before anything is begun.
func TestHoldProfiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := Hold{
		Transport: "tcp", Codec: "frame", IO: Parked, Sessions: 50, Beat: 20 * time.Millisecond, Timeout: 20 * time.Second, For: time.Second,
		Profiles: Profiles{CPU: filepath.Join(dir, "cpu"), Heap: filepath.Join(dir, "heap")}, Command: ourselves(t),
	}
	if _, err := h.Run(within(t), new(steps)); err != nil {
		t.Fatal(err)
	}
	for name, has := range map[string]string{h.Profiles.CPU: "nanoseconds", h.Profiles.Heap: "inuse_space"} {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if b, err := io.ReadAll(z); err != nil || !bytes.Contains(b, []byte(has)) {
			t.Errorf("%s: no %s in %d bytes, %v", name, has, len(b), err)
		}
	}
	h.Profiles.Heap = filepath.Join(dir, "none", "heap")
	var said steps
	if _, err := h.Run(within(t), &said); !errors.Is(err, fs.ErrNotExist) || len(said.said) != 0 {
		t.Errorf("got %v, after %q", err, said.said)
	}
}

// Sessions that end are told of: these were silent for longer than the servers
// bear, so they were not ended wrongly.
func TestHoldLost(t *testing.T) {
	t.Parallel()
	h := Hold{Transport: "tcp", Codec: "raw", Sessions: 20, Beat: time.Hour, Timeout: 100 * time.Millisecond, For: 2 * time.Second, Command: ourselves(t)}
	r, err := h.Run(within(t), new(steps))
	if err == nil || err.Error() != "20 of 20 sessions were lost" {
		t.Errorf("got %v", err)
	}
	if got := row(t, r, "rows", 0); got["lost"] != 20 || got["false_kills"] != 0 {
		t.Errorf("got %v", got)
	}
	if got := row(t, r, "ends", 0); got["reason"] != "silent" || got["sessions"] != 20 {
		t.Errorf("got %v", got)
	}
}

// connecting is a client that is told to open n sessions.
func connecting(t *testing.T, f *fleet, transport string, n int, to net.Addr) *hand {
	t.Helper()
	h, err := f.start("client", order{Hold: &holdOrder{
		Transport: transport, Codec: "frame", Sessions: n, Beat: time.Minute, Timeout: 3 * time.Minute, Sources: Sources{0, 1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	h.send(order{Connect: &connectOrder{served{Addr: to.String()}, n}})
	return h
}

// A server that ends a session that has just beaten is found out, be it one that
// is to be ended later.
func TestFalseKill(t *testing.T) {
	for _, silent := range []int{0, 1} {
		t.Run(fmt.Sprintf("%d silent", silent), func(t *testing.T) {
			t.Parallel()
			testFalseKill(t, silent)
		})
	}
}

func testFalseKill(t *testing.T, silent int) {
	f := newFleet(ourselves(t))
	defer f.end()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h := connecting(t, f, "tcp", 1, l.Addr())
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if host, _, _ := net.SplitHostPort(conn.RemoteAddr().String()); host != "127.1.0.1" {
		t.Errorf("it comes from %s", host)
	}
	hello := make([]byte, 64)
	if n, err := conn.Read(hello); err != nil || !strings.HasPrefix(string(hello[:n]), "\xfeLN") {
		t.Errorf("it says %q, %v", hello[:n], err)
	}
	if err := f.await(within(t), func() bool { return h.client.Connected == 1 }); err != nil {
		t.Fatal(err)
	}
	h.send(order{Silence: &silenceOrder{N: silent}})
	conn.Close()
	for h.client.Lost == 0 {
		if err := f.ask(within(t), []*hand{h}, reportOrder{}); err != nil {
			t.Fatal(err)
		}
	}
	if h.client.FalseKills != 1 || h.client.Connected != 1 || h.client.Beats != 1 {
		t.Errorf("got %+v", h.client)
	}
	r := holdRun{Hold: &Hold{Sessions: 1}, crew: &crew{clients: []*hand{h}}}
	r.count()
	if err := r.judge(); err == nil || err.Error() != "1 of 1 sessions were ended for silence although they beat in time" {
		t.Errorf("got %v", err)
	}
}

// What can't be opened is told of, with why.
func TestHoldRefused(t *testing.T) {
	t.Parallel()
	f := newFleet(ourselves(t))
	defer f.end()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // nobody is there
	for _, transport := range []string{"tcp", "yamux"} {
		h := connecting(t, f, transport, 3, l.Addr())
		if err := f.await(within(t), func() bool { return h.client.failed() == 3 }); err != nil {
			t.Fatal(err)
		}
		r := holdRun{Hold: &Hold{Transport: transport, Sessions: 3}, crew: &crew{clients: []*hand{h}}}
		r.count()
		if err := r.judge(); err == nil || err.Error() != "3 of 3 sessions could not be opened: connect: connection refused" {
			t.Errorf("%s: got %v", transport, err)
		}
		if got := row(t, r.report(), "failed", 0); got["error"] != "connect: connection refused" || got["sessions"] != 3 {
			t.Errorf("%s: got %v", transport, got)
		}
	}
}

// Whoever interrupts gets what there is, and no process is left.
func TestHoldInterrupted(t *testing.T) {
	for _, where := range []string{"starting", "connecting 1", "settling", "holding"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(within(t))
			h := Hold{Transport: "tcp", Codec: "frame", Sessions: 3000, Beat: time.Second, Timeout: time.Minute, For: time.Hour, Servers: 2, Command: ourselves(t)}
			r, err := h.Run(ctx, at(where, cancel))
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v", err)
			}
			if where == "starting" {
				return // there is nothing yet
			}
			if got := row(t, r, "rows", 0); got["sessions"].(int) < 1 || got["false_kills"] != 0 || got["lost"] != 0 {
				t.Errorf("got %v", got)
			}
			row(t, r, "memory", 0)
		})
	}
}

// A worker that ends ends the run, and is named.
func TestWorkerDies(t *testing.T) {
	t.Parallel()
	h := Hold{Transport: "tcp", Codec: "frame", Sessions: 100, Beat: time.Second, Timeout: time.Minute, For: time.Hour, Servers: 2}
	r := &holdRun{Hold: &h, crew: newCrew(ReadLimits(), h.Shape(), ourselves(t))}
	r.progress = at("holding", func() { r.servers[1].cmd.Process.Kill() })
	err := r.run(within(t))
	r.fleet.end()
	if err == nil || err.Error() != "server 2 has ended: signal: killed" {
		t.Errorf("got %v", err)
	}
	if got := row(t, r.report(), "rows", 0); got["sessions"] != 100 {
		t.Errorf("got %v", got)
	}
}

// A program that is no worker is no puzzle.
func TestNotAWorker(t *testing.T) {
	command := ourselves(t)
	f := newFleet(command)
	h, err := f.start("stranger", order{})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.awaitReady(within(t), []*hand{h}); err == nil || err.Error() != "stranger: the first order makes no sense" {
		t.Errorf("got %v", err)
	}
	f.end()
}

func TestTail(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "",
		"one\ntwo\n":                          "two",
		"panic: oh\n\ngoroutine 1:\nmain()\n": "panic: oh",
		strings.Repeat("x", 2*tailLength):     strings.Repeat("x", tailLength),
	} {
		var got tail
		for _, b := range []byte(text) {
			got.Write([]byte{b})
		}
		if got.last() != want {
			t.Errorf("%.40q ends %.40q, want %.40q", text, got.last(), want)
		}
	}
}

func TestChurn(t *testing.T) {
	io := map[string]string{"tcp": Parked, "yamux": Goroutine, "quic": Blocking}
	for _, transport := range []string{"tcp", "yamux", "quic"} {
		for _, codec := range []string{"frame", "raw"} {
			if transport == "yamux" && codec == "raw" {
				continue // nothing new
			}
			t.Run(transport+","+codec, func(t *testing.T) {
				t.Parallel()
				c := Churn{Transport: transport, Codec: codec, IO: io[transport], Parallel: 4, For: 300 * time.Millisecond, Command: ourselves(t)}
				var said steps
				r, err := c.Run(within(t), &said)
				if err != nil {
					t.Fatal(err)
				}
				if got := row(t, r, "rows", 0); got["connections"].(int) < 4 || got["failed"] != 0 {
					t.Errorf("got %v", got)
				}
				for i, what := range phases {
					if got := row(t, r, "latency", i); got["what"] != what || got["p50_us"].(time.Duration) <= 0 {
						t.Errorf("got %v", got)
					}
				}
				for i, what := range []string{"descriptors", "goroutines"} {
					if got := row(t, r, "left_over", i); got["what"] != what || got["before"].(int64) < 1 || got["left"].(int64) > 0 {
						t.Errorf("got %v", got)
					}
				}
				if text := strings.Join(said.said, "\n"); strings.Contains(text, " of ") {
					t.Errorf("the progress goes too far:\n%s", text)
				}
			})
		}
	}
}

func TestChurnInterrupted(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"warming", "1"} {
		ctx, cancel := context.WithCancel(within(t))
		c := Churn{Transport: "tcp", Codec: "raw", Parallel: 2, For: time.Hour, Command: ourselves(t)}
		r, err := c.Run(ctx, at(where, cancel))
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
		if where == "1" {
			row(t, r, "rows", 0)
			row(t, r, "left_over", 0)
		}
	}
}
