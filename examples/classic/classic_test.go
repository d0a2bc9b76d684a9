package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/livenet/livenet/liveness"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func told(speed float64) story {
	return story{speed, time.Now(), log.New(io.Discard, "", 0)}
}

// outcome is how a server handled the client.
type outcome struct {
	lived time.Duration // from accept until the handler returned
	left  int           // goroutines, when client and handler had ended
	err   error         // what the client found out
}

// play connects the client to a handler by a pipe, in a synctest bubble, where waiting takes no
// time and times are exact. It closes the pipe if the handler leaves it open.
func play(s story, handle func(net.Conn)) (o outcome) {
	server, client := net.Pipe()
	before := goroutines()
	began := time.Now()
	var talking sync.WaitGroup
	talking.Go(func() { o.err = s.converse(context.Background(), client, "") })
	handle(server)
	o.lived = time.Since(began)
	server.Close()
	talking.Wait()
	synctest.Wait()
	o.left = goroutines() - before
	return o
}

// goroutines counts the goroutines of the bubble.
func goroutines() int {
	buf := make([]byte, 1<<20)
	return bytes.Count(buf[:runtime.Stack(buf, true)], []byte(", synctest bubble "))
}

func TestTheSnippetLeaksAGoroutineForEachMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := told(1)
		old := newSnippet(s)
		o := play(s, old.handle)
		if messages := len(old.offered); messages != 10 || o.left != messages {
			t.Errorf("%d messages left %d goroutines behind", messages, o.left)
		}
		// The tenth message comes after 18 s.
		if o.lived != 22*time.Second {
			t.Errorf("the deadline of 10 s, that the messages moved, passed after %v", o.lived)
		}
		old.free()
	})
}

func TestBothPoliciesKeepTheirTime(t *testing.T) {
	tests := []struct {
		kind   string
		lives  time.Duration
		reason liveness.Reason
		silent time.Duration
	}{
		{"long", 22 * time.Second, liveness.Silent, 4 * time.Second},
		{"short", 10 * time.Second, liveness.FixedDeadline, 0},
	}
	const late = 2 * liveness.DefaultTick
	for _, tt := range tests {
		t.Run(tt.kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := told(1)
				cfg := &liveness.Config{Policy: s.policy(tt.kind), Engine: new(liveness.Engine)}
				var conn *liveness.Conn
				o := play(s, func(c net.Conn) {
					conn = liveness.NewConn(c, cfg)
					s.handle(context.Background(), conn, "")
				})
				if o.left != 0 {
					t.Errorf("%d goroutines were left behind", o.left)
				}
				if o.lived < tt.lives || o.lived > tt.lives+late {
					t.Errorf("closed after %v, want %v", o.lived, tt.lives)
				}
				if end := conn.End(); end.Reason != tt.reason || end.Silence < tt.silent {
					t.Errorf("%v, after a silence of %v", end, end.Silence)
				}
				if o.err != io.EOF {
					t.Errorf("the client found out: %v", o.err)
				}
			})
		})
	}
}

// After the snippet's timeout the server does not read any more, and the client does not notice.
func TestTheSnippetLetsTheClientWriteOn(t *testing.T) {
	server, client := connect(t)
	old := newSnippet(told(10))
	say(t, client)
	old.handle(server) // until its timeout
	for range 10 {
		say(t, client)
	}
	client.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the client was told: %v", err)
	}
	old.free()
}

func TestOursTellsTheClient(t *testing.T) {
	for _, kind := range []string{"long", "short"} {
		t.Run(kind, func(t *testing.T) {
			server, client := connect(t)
			s := told(200)
			say(t, client)
			s.handle(t.Context(), liveness.NewConn(server, &liveness.Config{Policy: s.policy(kind)}), "")
			if _, err := client.Read(make([]byte, 1)); runtime.GOOS == "linux" && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the client reads: %v", err)
			}
			if _, err := client.Write([]byte("still there?")); err == nil {
				t.Error("the client writes on")
			}
		})
	}
}

func TestTheWholeStory(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out, []string{"-speed", "50"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"long   server  closed it: silent;", "short  server  closed it: fixed-deadline;"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, &out)
		}
	}
}

// Server and client, as if run in two terminals.
func TestListenAndDial(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	r, w := io.Pipe()
	served := make(chan error, 1)
	go func() {
		served <- run(ctx, w, []string{"-listen", "127.0.0.1:0", "-policy", "short", "-speed", "50"})
		w.Close()
	}()
	line := make([]byte, 1024)
	n, _ := r.Read(line)
	_, addr, ok := strings.Cut(strings.TrimSpace(string(line[:n])), "listening on ")
	if !ok {
		t.Fatalf("the server said %q", line[:n])
	}
	rest := make(chan string, 1)
	go func() {
		all, _ := io.ReadAll(r)
		rest <- string(all)
	}()
	var out bytes.Buffer
	if err := run(ctx, &out, []string{"-dial", addr, "-speed", "50"}); err != nil {
		t.Error(err)
	}
	if !strings.Contains(out.String(), "the conversation is over: ") {
		t.Errorf("the client said:\n%s", &out)
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if log := <-rest; !strings.Contains(log, "closed it: fixed-deadline;") {
		t.Errorf("the server said:\n%s", log)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"-speed", "-1"},
		{"-policy", "eternal"},
		{"-listen", "127.0.0.1:0", "-dial", "127.0.0.1:1"},
	} {
		if err := run(t.Context(), io.Discard, args); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}

func connect(t *testing.T) (server, client net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close(); client.Close() })
	return server, client
}

func say(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := c.Write([]byte("0 Hello I'm MyHeartbeat Client.")); err != nil {
		t.Fatal(err)
	}
}
