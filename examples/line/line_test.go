package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport/tcp"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	goleak.VerifyTestMain(m)
}

// start serves until the test ends. Ends of sessions go to the channel.
func start(t *testing.T, timeout time.Duration) (addr string, ends <-chan *liveness.Error) {
	t.Helper()
	closed := make(chan *liveness.Error, 16)
	srv := newServer(timeout)
	srv.Events = func(e liveness.Event) {
		if e.What == liveness.Closed {
			closed <- e.End
		}
	}
	l, err := tcp.Transport{}.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String(), closed
}

// A plain is a client that is no more than a socket.
type plain struct {
	net.Conn
	in *bufio.Scanner
}

func dial(t *testing.T, addr string) *plain {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &plain{conn, bufio.NewScanner(conn)}
}

// ask sends a line and returns the next one.
func (p *plain) ask(t *testing.T, line string) string {
	t.Helper()
	fmt.Fprintln(p, line)
	if !p.in.Scan() {
		t.Fatalf("%s: %v", line, p.in.Err())
	}
	return p.in.Text()
}

func TestSessionsAreListedCountedAndEnded(t *testing.T) {
	addr, ends := start(t, time.Minute)
	victim, operator := dial(t, addr), dial(t, addr)
	if got := victim.ask(t, "hello"); got != "hello" {
		t.Errorf("echo: %q", got)
	}
	if got := victim.ask(t, "PING"); got != "PONG" {
		t.Errorf("PING: %q", got)
	}
	first := operator.ask(t, "who")
	ids := map[string]string{}
	for line := first; line != "."; line = operator.in.Text() {
		id, rest, _ := strings.Cut(line, " ")
		ids[strings.Fields(rest)[0]] = id
		operator.in.Scan()
	}
	id := ids[victim.LocalAddr().String()]
	if len(ids) != 2 || id == "" {
		t.Fatalf("sessions: %v", ids)
	}
	if got := operator.ask(t, "kick "+id); got != "kicked "+id {
		t.Error(got)
	}
	if e := <-ends; e.Reason != liveness.Kicked {
		t.Error(e)
	}
	if victim.in.Scan() || victim.in.Err() == nil {
		t.Errorf("the victim read %q, %v; want a reset", victim.in.Text(), victim.in.Err())
	}
	if got := operator.ask(t, "kick "+id); got != "no session "+id {
		t.Error(got)
	}
	if got := operator.ask(t, "counts"); got != "2 accepted, 1 live, closed: map[kicked:1]" {
		t.Error(got)
	}
	fmt.Fprintln(operator, "quit")
	if operator.in.Scan() || operator.in.Err() != nil {
		t.Errorf("quit: %q, %v", operator.in.Text(), operator.in.Err())
	}
}

// The one client beats by itself, the other one doesn't.
func TestWhoBeatsLives(t *testing.T) {
	const timeout = time.Second
	addr, ends := start(t, timeout)
	c, err := (&liveness.Client{Codec: codec.Line, Beat: timeout / 3}).Dial(t.Context(), tcp.Transport{}, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	read := make(chan error, 1)
	go func() { // reads the answers to beats
		_, err := c.Read(make([]byte, 1))
		read <- err
	}()
	dial(t, addr).ask(t, "hello")
	if e := <-ends; e.Reason != liveness.Silent || e.Silence < timeout {
		t.Error(e)
	}
	select {
	case e := <-ends:
		t.Error(e)
	case <-time.After(2 * timeout): // as long as it takes to be sure
	}
	c.Close()
	<-read
}
