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

// A full disk takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// What a command says on its standard output is its work: if it can't be
// written, the command has failed, whatever else it did.
func TestUnwrittenOutput(t *testing.T) {
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
			// A demo on a busy machine has something else to say as well.
			if want := "can't write: no space left on device\n"; strings.Count(said, "\n") != 1 || !strings.HasSuffix(said, want) {
				t.Errorf("it said %q", said)
			}
		})
	}
}

// So it has if it was interrupted meanwhile, which has a status of its own.
func TestUnwrittenOutputOfWhoIsInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	tr := newTrial(t)
	tr.out = then{full{}, cancel}
	status := run(ctx, tr.process(), []string{"demo"})
	if said, want := tr.stderr.String(), "livenet demo: can't write: no space left on device\n"; status != statusFailed || said != want {
		t.Errorf("exit status %d, and it said %q", status, said)
	}
}

// A then does something after each Write.
type then struct {
	io.Writer
	do func()
}

func (t then) Write(p []byte) (int, error) {
	defer t.do()
	return t.Writer.Write(p)
}

// A blocked reader takes nothing until it is let go.
type blocked struct {
	began chan struct{} // gets a token for each Write
	let   chan struct{}
}

func (b blocked) Write(p []byte) (int, error) {
	b.began <- struct{}{}
	<-b.let
	return len(p), nil
}

// tellOne has the server print something.
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

// Serve does not wait for ever for somebody who has stopped to read what it prints.
func TestServeEndsThoughNobodyReads(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	reader := blocked{make(chan struct{}, 10), make(chan struct{})}
	defer close(reader.let)
	tr.out = reader
	tr.patience = 100 * time.Millisecond
	tr.start("serve", "--listen", "127.0.0.1:0", "--handler", "log", "--drain", "20ms", "--log-format", "json")
	defer tellOne(t, tr).Close()
	<-reader.began
	tr.cancel()
	if status := tr.wait(); status != statusFailed {
		t.Errorf("exit status %d", status)
	}
	if said := tr.stderr.String(); !strings.HasSuffix(said, "livenet serve: can't write: nobody reads stdout\n") {
		t.Errorf("it said %q", said)
	}
}

// While nobody reads what it prints, sessions end as ever and keep nothing, and what was
// not written is counted.
func TestServeCountsWhatNobodyReads(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	reader := blocked{make(chan struct{}, 1000), make(chan struct{})}
	defer close(reader.let)
	tr.out, tr.patience = reader, 100*time.Millisecond
	tr.start("serve", "--listen", "127.0.0.1:0", "--handler", "log", "--timeout", "500ms", "--log-format", "json")
	const n = mostWaiting + 40
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

// A disk that is full for a while ends nobody's session.
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

// Nor does anything that ends wait for who has stopped to read why.
func TestNobodyReadsWhy(t *testing.T) {
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
	tr.patience = 20 * time.Millisecond
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

// A signal ends dial, too, though nobody reads what it prints.
func TestDialEndsThoughNobodyReads(t *testing.T) {
	t.Parallel()
	server := serveJSON(t, "--listener", "tcp://127.0.0.1:0?timeout=1h", "--listener", "yamux://127.0.0.1:0?timeout=1h", "--listener", "quic://127.0.0.1:0?timeout=1h")
	for _, transport := range stack.Names {
		tr := newTrial(t)
		tr.env = server.env
		reader := blocked{make(chan struct{}, 10), make(chan struct{})}
		defer close(reader.let)
		tr.out, tr.patience = reader, 100*time.Millisecond
		stdin, typed := io.Pipe()
		tr.stdin = stdin
		tr.start("dial", "--transport", transport, server.addr(transport))
		io.WriteString(typed, "x")
		<-reader.began
		tr.cancel()
		if status, said := tr.wait(), tr.stderr.String(); status != statusFailed || said != "livenet dial: can't write: nobody reads stdout\n" {
			t.Errorf("%s: exit status %d, and it said %q", transport, status, said)
		}
		server.event(1, line{"msg": "closed", "kind": "session", "transport": transport, "reason": "done"})
	}
}

// A reader that goes away is another matter: there is nothing to do any more.
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

// A hungUp reader has gone.
type hungUp struct{}

func (hungUp) Write([]byte) (int, error) { return 0, syscall.EPIPE }
