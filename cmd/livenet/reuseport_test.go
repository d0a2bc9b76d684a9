package main

import (
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Two processes on one port both get connections. When one drains, the other gets all, and no
// client is refused.
func TestReusePort(t *testing.T) {
	if runtime.GOOS != "linux" && runtime.GOOS != "freebsd" {
		t.Skip("this system does not spread connections")
	}
	// Not parallel: a process that another test starts has a copy of the second's listening
	// socket until its exec, and connections that the kernel gives to that are reset.
	first := serveJSON(t, "--listen", "127.0.0.1:0", "--reuse-port")
	addr := first.addr("tcp")
	second := serveJSON(t, "--listener", "tcp://"+addr+"?timeout=30s&reuse-port")
	if got := second.addr("tcp"); got != addr {
		t.Fatalf("the second listens on %s, want %s", got, addr)
	}
	status, _, stderr := try(t, nil, "serve", "--listen", addr)
	if status != statusFailed || !strings.Contains(stderr, "is in use: stop the process that uses it") {
		t.Errorf("one that does not share the port: exit status %d, %s", status, stderr)
	}

	opened := func(tr *trial) bool { return strings.Contains(tr.stderr.String(), `"msg":"opened"`) }
	for began := time.Now(); !opened(first) || !opened(second); {
		converseOnce(t, addr)
		if time.Since(began) > soon {
			t.Fatalf("only one of them gets connections:\n%s\n%s", first.stderr, second.stderr)
		}
	}
	second.cancel()
	if status := second.wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	const more = 16 // of which a hash would have sent about half to the second
	for range more {
		converseOnce(t, addr)
	}
}

// converseOnce sends a byte and waits for its echo.
func converseOnce(t *testing.T, addr string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(soon))
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

// A port that is in use without --reuse-port can't be shared.
func TestReusePortOfAnother(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	status, _, stderr := try(t, nil, "serve", "--listen", l.Addr().String(), "--reuse-port")
	if status != statusFailed || !strings.Contains(stderr, "is in use, and not shared: the other process must set --reuse-port, too") {
		t.Errorf("exit status %d, %s", status, stderr)
	}
}
