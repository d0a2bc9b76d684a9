package main

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/livenet/livenet/internal/stack"
)

// full is a writer that returns ENOSPC.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// A command whose stdout can't be written fails, whatever else it did.
func TestUnwrittenOutputIsAFailure(t *testing.T) {
	for _, args := range []string{
		"",
		"--help",
		"version",
		"serve --help",
		"completion fish",
		"demo --speed 40",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t)
			tr.out = full{}
			status := run(context.Background(), tr.process(), strings.Fields(args))
			if status != statusFailed {
				t.Errorf("exit status %d", status)
			}
			said := tr.stderr.String()
			// On a busy machine the demo has another error as well.
			if want := "can't write: no space left on device\n"; strings.Count(said, "\n") != 1 || !strings.HasSuffix(said, want) {
				t.Errorf("it said %q", said)
			}
		})
	}
}

// So does one that was interrupted meanwhile, which otherwise has a status of its own.
func TestUnwrittenOutputOfAnInterruptedCommand(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	tr := newTrial(t)
	tr.out = then{full{}, cancel}
	status := run(ctx, tr.process(), []string{"demo"})
	if said, want := tr.stderr.String(), "livenet demo: can't write: no space left on device\n"; status != statusFailed || said != want {
		t.Errorf("exit status %d, and it said %q", status, said)
	}
}

// A then calls a function after each Write.
type then struct {
	io.Writer
	do func()
}

func (t then) Write(p []byte) (int, error) {
	defer t.do()
	return t.Writer.Write(p)
}

// A blocked writer blocks until it is released.
type blocked struct {
	began chan struct{} // gets a token for each Write
	let   chan struct{}
}

func (b blocked) Write(p []byte) (int, error) {
	b.began <- struct{}{}
	<-b.let
	return len(p), nil
}

// tellOne sends something that the server's handler prints.
func tellOne(t *testing.T, tr *trial) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", tr.addr("tcp"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	return conn
}

// Serve ends although stdout is blocked.
func TestServeEndsWithBlockedStdout(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	reader := blocked{make(chan struct{}, 10), make(chan struct{})}
	defer close(reader.let)
	tr.out = reader
	tr.exitTimeout = 100 * time.Millisecond
	tr.start("serve", "--listen", "127.0.0.1:0", "--handler", "log", "--drain", "20ms", "--log-format", "json")
	defer tellOne(t, tr).Close()
	<-reader.began
	tr.cancel()
	if status := tr.wait(); status != statusFailed {
		t.Errorf("exit status %d", status)
	}
	if said := tr.stderr.String(); !strings.HasSuffix(said, "livenet serve: can't write: stdout is not being read\n") {
		t.Errorf("it said %q", said)
	}
}

// While stdout is blocked, sessions end normally and keep nothing, and lines that were not
// written are counted.
func TestServeCountsLinesLostByBlockedStdout(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	reader := blocked{make(chan struct{}, 1000), make(chan struct{})}
	defer close(reader.let)
	tr.out, tr.exitTimeout = reader, 100*time.Millisecond
	tr.start("serve", "--listen", "127.0.0.1:0", "--handler", "log", "--timeout", "500ms", "--log-format", "json")
	const n = maxQueued + 40
	for range n {
		defer tellOne(t, tr).Close()
	}
	tr.event(n, line{"msg": "closed", "reason": "silent"})
	tr.cancel()
	if status := tr.wait(); status != statusFailed {
		t.Errorf("exit status %d", status)
	}
	text, _, _ := strings.Cut(tr.stderr.String(), "livenet serve: ")
	lost := 0
	for _, l := range lines(t, text) {
		if l.text("msg") == "lost" && l.text("output") == "stdout" {
			lost += l.number("lines")
		}
	}
	if lost != n {
		t.Errorf("%d lines of %d were counted", lost, n)
	}
}

// A disk that is full for a while ends no session.
func TestServeGoesOnWithAFullDisk(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	tr.out = full{}
	tr.start("serve", "--listen", "127.0.0.1:0", "--handler", "log", "--timeout", "1h", "--log-format", "json")
	conn := tellOne(t, tr)
	conn.Close()
	tr.event(1, line{"msg": "closed", "reason": "peer-closed"})
	tr.cancel()
	tr.wait()
	if !strings.Contains(tr.stderr.String(), `"msg":"lost","lines":1,"output":"stdout"`) {
		t.Errorf("nothing was lost: %s", tr.stderr)
	}
}

// Commands end although stderr is blocked.
func TestCommandsEndWithBlockedStderr(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	defer l.Close()
	serving.Go(func() {
		if c, err := l.Accept(); err == nil {
			c.Read(make([]byte, 1))
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
	})
	reader := blocked{make(chan struct{}, 10), make(chan struct{})}
	defer close(reader.let)
	tr := newTrial(t)
	tr.exitTimeout = 20 * time.Millisecond
	p := tr.process()
	p.stderr = reader
	if status := run(context.Background(), p, []string{"dial", "--nonsense"}); status != statusUsage {
		t.Errorf("exit status %d", status)
	}
	stdin, typed := io.Pipe() // does not end
	defer stdin.Close()
	go io.WriteString(typed, "x")
	p.stdin = stdin
	if status := run(context.Background(), p, []string{"dial", "--codec", "raw", l.Addr().String()}); status != statusLost {
		t.Errorf("of a connection: exit status %d", status)
	}
}

// A signal ends dial although stdout is blocked.
func TestDialEndsWithBlockedStdout(t *testing.T) {
	t.Parallel()
	server := serveJSON(t, "--listener", "tcp://127.0.0.1:0?timeout=1h", "--listener", "yamux://127.0.0.1:0?timeout=1h", "--listener", "quic://127.0.0.1:0?timeout=1h")
	for _, transport := range stack.Names {
		tr := newTrial(t)
		tr.env = server.env
		reader := blocked{make(chan struct{}, 10), make(chan struct{})}
		defer close(reader.let)
		tr.out, tr.exitTimeout = reader, 100*time.Millisecond
		stdin, typed := io.Pipe()
		tr.stdin = stdin
		tr.start("dial", "--transport", transport, server.addr(transport))
		io.WriteString(typed, "x")
		<-reader.began
		tr.cancel()
		if status, said := tr.wait(), tr.stderr.String(); status != statusFailed || said != "livenet dial: can't write: stdout is not being read\n" {
			t.Errorf("%s: exit status %d, and it said %q", transport, status, said)
		}
		server.event(1, line{"msg": "closed", "kind": "session", "transport": transport, "reason": "done"})
	}
}

// If the reader of stdout goes away, serve ends.
func TestServeEndsWithItsReader(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	tr.out = hungUp{}
	tr.start("serve", "--listen", "127.0.0.1:0", "--handler", "log", "--log-format", "json")
	defer tellOne(t, tr).Close()
	if status := tr.wait(); status != statusFailed {
		t.Errorf("exit status %d", status)
	}
	if said := tr.stderr.String(); !strings.HasSuffix(said, "livenet serve: can't write: broken pipe\n") {
		t.Errorf("it said %q", said)
	}
}

// hungUp is a writer that returns EPIPE.
type hungUp struct{}

func (hungUp) Write([]byte) (int, error) { return 0, syscall.EPIPE }
