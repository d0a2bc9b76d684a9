package quic_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/livenet/livenet/transport"
)

const (
	stillness = 20 * time.Millisecond // for what does not happen
	patience  = 10 * time.Second      // for what has to
)

func waiter(t *testing.T, s transport.Stream) transport.Waiter {
	t.Helper()
	w, ok := transport.AsWaiter(s)
	if !ok {
		t.Fatalf("%T is not a Waiter", s)
	}
	return w
}

func waitRead(w transport.Waiter) <-chan error {
	done := make(chan error, 1)
	go func() { done <- w.WaitRead() }()
	return done
}

// waits has somebody wait for input that is not there yet.
func waits(t *testing.T, w transport.Waiter) <-chan error {
	t.Helper()
	done := waitRead(w)
	select {
	case err := <-done:
		t.Fatalf("WaitRead with nothing to read: %v", err)
	case <-time.After(stillness):
	}
	return done
}

func waited(t *testing.T, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		t.Fatal("WaitRead waits on")
		return nil
	}
}

// emptied are streams whose hello has been read.
func emptied(t *testing.T, from, to transport.Session) (opened, accepted transport.Stream) {
	t.Helper()
	opened, accepted = streams(t, from, to)
	if _, err := io.ReadFull(accepted, make([]byte, len("hello"))); err != nil {
		t.Fatal(err)
	}
	return opened, accepted
}

// WaitRead returns when Read would, and fails as Read does, whether it comes
// before or after what there is to hear of.
func TestWaitRead(t *testing.T) {
	message := bytes.Repeat([]byte("whole"), 5000)
	type end struct {
		session transport.Session
		transport.Stream
	}
	closed := func(origin transport.Origin, reset bool) func(error) bool {
		return func(err error) bool {
			ce, ok := errors.AsType[*transport.CloseError](err)
			return ok && ce.Origin == origin && ce.Reset == reset && ce.Coded && ce.Code == 7
		}
	}
	is := func(target error) func(error) bool {
		return func(err error) bool { return errors.Is(err, target) }
	}
	for _, test := range []struct {
		name   string
		happen func(here, there end)
		want   func(error) bool
	}{
		{"data", func(_, there end) { there.Write(message) }, is(nil)},
		{"the peer's end", func(_, there end) { there.CloseWrite() }, is(io.EOF)},
		{"the peer's Close", func(_, there end) { there.Close() }, is(io.EOF)},
		{"the peer's reset", func(_, there end) { there.Reset(7) }, closed(transport.Peer, true)},
		{"the peer's session's end", func(_, there end) { there.session.Close(7, "") }, closed(transport.Peer, false)},
		{"Close", func(here, _ end) { here.Close() }, is(net.ErrClosed)},
		{"Reset", func(here, _ end) { here.Reset(7) }, closed(transport.Local, true)},
		{"the session's end", func(here, _ end) { here.session.Close(7, "") }, closed(transport.Local, false)},
		{"a deadline that has passed", func(here, _ end) { here.SetReadDeadline(time.Unix(1, 0)) }, is(os.ErrDeadlineExceeded)},
		{"a deadline", func(here, _ end) { here.SetReadDeadline(time.Now().Add(stillness)) }, is(os.ErrDeadlineExceeded)},
	} {
		for _, order := range []string{"waiting", "late"} {
			t.Run(test.name+"/"+order, func(t *testing.T) {
				client, server := connect(t, nil, nil)
				opened, accepted := emptied(t, client, server)
				there, here := end{client, opened}, end{server, accepted}
				w := waiter(t, accepted)
				var done <-chan error
				if order == "waiting" {
					done = waits(t, w)
					test.happen(here, there)
				} else {
					test.happen(here, there)
					done = waitRead(w)
				}
				err := waited(t, done)
				if !test.want(err) {
					t.Errorf("WaitRead: %v", err)
				}
				if err == nil {
					got := make([]byte, len(message))
					if n, err := io.ReadFull(here, got); !bytes.Equal(got, message) {
						t.Errorf("read %d bytes, %v", n, err)
					}
					return
				}
				if _, readErr := here.Read(make([]byte, 1)); readErr == nil || readErr.Error() != err.Error() {
					t.Errorf("WaitRead fails with %v, and Read with %v", err, readErr)
				}
			})
		}
	}
}

// What has come stays for Read, however often somebody waits for it.
func TestWaitReadTakesNothing(t *testing.T) {
	client, server := connect(t, nil, nil)
	opened, accepted := streams(t, client, server) // with hello
	opened.CloseWrite()
	w := waiter(t, accepted)
	for range 3 {
		if err := w.WaitRead(); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := io.ReadAll(accepted); string(got) != "hello" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	if err := w.WaitRead(); err != io.EOF {
		t.Errorf("WaitRead at the end: %v", err)
	}
}

// A Read beside a WaitRead has the data.
func TestWaitReadBesideRead(t *testing.T) {
	client, server := connect(t, nil, nil)
	opened, accepted := emptied(t, client, server)
	done := waits(t, waiter(t, accepted))
	read := make(chan string, 1)
	go func() {
		p := make([]byte, 10)
		n, _ := accepted.Read(p)
		read <- string(p[:n])
	}()
	io.WriteString(opened, "data")
	select {
	case got := <-read:
		if got != "data" {
			t.Errorf("read %q", got)
		}
	case <-time.After(patience):
		t.Fatal("Read waits on")
	}
	accepted.Close() // in case Read was faster
	if err := waited(t, done); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Errorf("WaitRead: %v", err)
	}
}
