package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/livenet/livenet/examples/servers/internal/peertest"
	"github.com/livenet/livenet/liveness"
)

func TestMain(m *testing.M) { peertest.Main(m) }

const timeout = peertest.Timeout

type fixture struct {
	*liveness.Listener
	ends <-chan *liveness.Error
}

func start(t *testing.T) *fixture {
	t.Parallel()
	l, ends := peertest.Listen(t, config(timeout))
	served := make(chan error, 1)
	go func() { served <- serve(l) }()
	t.Cleanup(func() {
		l.Close()
		if err := <-served; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	return &fixture{l, ends}
}

// dial returns a session of a client's, and the connection beneath it.
func (f *fixture) dial(t *testing.T) (*ssh.Session, net.Conn) {
	t.Helper()
	conn, err := net.Dial("tcp", f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, channels, requests, err := ssh.NewClientConn(conn, "", &ssh.ClientConfig{HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	if err != nil {
		t.Fatal(err)
	}
	client := ssh.NewClient(c, channels, requests)
	t.Cleanup(func() { client.Close() })
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	return s, conn
}

func output(t *testing.T, s *ssh.Session) *bufio.Scanner {
	t.Helper()
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	return bufio.NewScanner(out)
}

// Between two lines nothing is sent in either direction for longer than the timeout.
func TestACommandThatOnlyPrintsOutlastsTheTimeout(t *testing.T) {
	f := start(t)
	s, _ := f.dial(t)
	out := output(t, s)
	if err := s.Start(fmt.Sprintf("clock %v", timeout+time.Second)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if !out.Scan() {
			t.Fatal(out.Err())
		}
	}
}

func TestAnIdleShellOutlastsTheTimeout(t *testing.T) {
	f := start(t)
	s, _ := f.dial(t)
	in, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out := output(t, s)
	if err := s.Shell(); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"before", "after"} {
		io.WriteString(in, line+"\n")
		if !out.Scan() || out.Text() != line {
			t.Fatalf("%q, %v", out.Text(), out.Err())
		}
		if line == "before" {
			select { // idle for as long as it takes to be sure
			case e := <-f.ends:
				t.Fatal(e)
			case <-time.After(timeout + timeout/2):
			}
		}
	}
}

func TestAClientThatVanishedIsEnded(t *testing.T) {
	f := start(t)
	s, conn := f.dial(t)
	s.StdinPipe() // which stays open
	if err := s.Shell(); err != nil {
		t.Fatal(err)
	}
	peertest.Vanish(t, conn)
	peertest.End(t, f.ends, liveness.Silent, timeout-time.Second, time.Now())
}

// The client is told why.
func TestSessionsAreListedAndEnded(t *testing.T) {
	f := start(t)
	shell, _ := f.dial(t)
	shell.StdinPipe() // which stays open
	var said strings.Builder
	shell.Stderr = &said
	if err := shell.Shell(); err != nil {
		t.Fatal(err)
	}
	id := peertest.One(t, f.Listener).ID()
	s, _ := f.dial(t)
	list, err := s.Output("sessions")
	if err != nil || strings.Count(string(list), "\n") != 2 {
		t.Errorf("%q, %v", list, err)
	}
	other, _ := f.dial(t)
	if err := other.Run(fmt.Sprintf("kick %d", id)); err != nil {
		t.Error(err)
	}
	if err := shell.Wait(); err == nil || said.String() != "closed: kicked\r\n" {
		t.Errorf("%v, told %q", err, said.String())
	}
	peertest.End(t, f.ends, liveness.Kicked, 0, time.Now())
}
