package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport/quic"
	"github.com/livenet/livenet/transport/transporttest"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	goleak.VerifyTestMain(m)
}

// start serves until the test ends, and returns a client's session.
func start(t *testing.T) (*store, *liveness.Session) {
	t.Helper()
	server, client := transporttest.Certificates(t)
	l, err := overQUIC(server).Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s, served := newStore(), make(chan error, 1)
	go func() { served <- s.srv.Serve(ctx, l) }()
	c, err := (&liveness.Client{Codec: codec.Raw, Policy: liveness.Sliding(timeout), Evidence: codec.Acks}).
		Dial(t.Context(), overQUIC(client), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() { // one read is always pending: it sees the session's end
		defer close(read)
		io.Copy(io.Discard, c)
	}()
	t.Cleanup(func() {
		c.Close()
		<-read
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s, c.Session()
}

// ask opens a stream for a request.
func ask(t *testing.T, session *liveness.Session, format string, args ...any) *bufio.Scanner {
	t.Helper()
	c, err := session.OpenStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, format+"\n", args...)
	return bufio.NewScanner(c)
}

func expect(t *testing.T, in *bufio.Scanner, want string) {
	t.Helper()
	if !in.Scan() || in.Text() != want {
		t.Fatalf("%q, %v; want %q", in.Text(), in.Err(), want)
	}
}

// Neither end's application sends anything for longer than the timeout.
func TestWatchesOutlastTheTimeout(t *testing.T) {
	_, session := start(t)
	a, b := ask(t, session, "watch a"), ask(t, session, "watch b")
	expect(t, a, "")
	expect(t, b, "")
	select {
	case <-session.Done():
		t.Fatal(session.End())
	case <-time.After(timeout + timeout/2): // as long as it takes to be sure
	}
	if set := ask(t, session, "set b 1"); set.Scan() || set.Err() != nil {
		t.Fatal(set.Text(), set.Err())
	}
	expect(t, a, "") // of any change it is told
	expect(t, b, "1")
}

func TestASessionIsListedAndEndedWithItsStreams(t *testing.T) {
	s, session := start(t)
	watch := ask(t, session, "watch a")
	expect(t, watch, "")
	var id uint64
	n := 0
	for x := range s.srv.Sessions() {
		id = x.ID()
		n++
	}
	if streams := s.srv.Counts(liveness.KindStream); n != 1 || streams.Live != 2 { // with the one that Dial opened
		t.Errorf("%d sessions, %d streams", n, streams.Live)
	}
	ask(t, session, "kick %d", id)
	<-session.Done()
	if e := session.End(); e.Reason != liveness.Kicked || e.Text != "as you wish" || !e.Claimed() {
		t.Error(e)
	}
	if watch.Scan() || !errors.Is(watch.Err(), liveness.Kicked) {
		t.Errorf("the watch read %q, %v", watch.Text(), watch.Err())
	}
}

func TestServeNeedsKeepalive(t *testing.T) {
	server, _ := transporttest.Certificates(t)
	l, err := quic.Transport{TLS: server}.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := newStore().srv.Serve(t.Context(), l); err == nil {
		t.Error("it served without")
	}
}
