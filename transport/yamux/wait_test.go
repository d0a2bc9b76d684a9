package yamux

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"reflect"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/livenet/livenet/transport"
)

// stillness is how long what does not happen is given.
const stillness = 20 * time.Millisecond

// waiting has somebody wait for input.
func waiting(t *testing.T, s *stream) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- s.WaitRead() }()
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

// WaitRead returns when Read would, and fails as Read does, whether it comes
// before or after what there is to hear of.
func TestWaitRead(t *testing.T) {
	message := bytes.Repeat([]byte("whole"), 5000)
	resetBy := func(origin transport.Origin) func(error) bool {
		return func(err error) bool {
			ce, ok := errors.AsType[*transport.CloseError](err)
			return ok && ce.Origin == origin && ce.Reset && ce.Coded && ce.Code == 7
		}
	}
	is := func(target error) func(error) bool {
		return func(err error) bool { return errors.Is(err, target) }
	}
	for _, test := range []struct {
		name   string
		happen func(here, there *stream)
		want   func(error) bool
	}{
		{"data", func(_, there *stream) { there.Write(message) }, is(nil)},
		{"the peer's end", func(_, there *stream) { there.CloseWrite() }, is(io.EOF)},
		{"the peer's Close", func(_, there *stream) { there.Close() }, is(io.EOF)},
		{"the peer's reset", func(_, there *stream) { there.Reset(7) }, resetBy(transport.Peer)},
		{"the peer's session's end", func(_, there *stream) { there.session.Close(3, "") }, func(err error) bool {
			ce, ok := errors.AsType[*transport.CloseError](err)
			return ok && ce.Origin == transport.Peer && ce.Code == 3
		}},
		{"Close", func(here, _ *stream) { here.Close() }, is(net.ErrClosed)},
		{"Reset", func(here, _ *stream) { here.Reset(7) }, resetBy(transport.Local)},
		{"the session's end", func(here, _ *stream) { here.session.Close(0, "") }, is(net.ErrClosed)},
		{"a deadline that has passed", func(here, _ *stream) { here.SetReadDeadline(longAgo) }, is(os.ErrDeadlineExceeded)},
		{"a deadline", func(here, _ *stream) { here.SetReadDeadline(time.Now().Add(stillness)) }, is(os.ErrDeadlineExceeded)},
	} {
		for _, order := range []string{"waiting", "late"} {
			t.Run(test.name+"/"+order, func(t *testing.T) {
				client, server := connect(t)
				there, here := streams(t, client, server)
				var done <-chan error
				if order == "waiting" {
					done = waiting(t, here)
					test.happen(here, there)
				} else {
					test.happen(here, there)
					late := make(chan error, 1)
					go func() { late <- here.WaitRead() }()
					done = late
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
	client, server := connect(t)
	there, here := streams(t, client, server)
	io.WriteString(there, "data")
	there.CloseWrite()
	for range 3 {
		if err := here.WaitRead(); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := io.ReadAll(here); string(got) != "data" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	if err := here.WaitRead(); err != io.EOF {
		t.Errorf("WaitRead at the end: %v", err)
	}
}

// A Read beside a WaitRead has the data.
func TestWaitReadBesideRead(t *testing.T) {
	client, server := connect(t)
	there, here := streams(t, client, server)
	done := waiting(t, here)
	read := make(chan string, 1)
	go func() {
		p := make([]byte, 10)
		n, _ := here.Read(p)
		read <- string(p[:n])
	}()
	io.WriteString(there, "data")
	select {
	case got := <-read:
		if got != "data" {
			t.Errorf("read %q", got)
		}
	case <-time.After(patience):
		t.Fatal("Read waits on")
	}
	here.Close() // in case Read was faster
	if err := waited(t, done); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Errorf("WaitRead: %v", err)
	}
}

// hasBuffer reports whether yamux keeps a buffer for what comes in.
func hasBuffer(s *stream) bool {
	inner := reflect.ValueOf(s.inner).Elem()
	lock := (*sync.Mutex)(unsafe.Pointer(inner.FieldByName("recvLock").UnsafeAddr()))
	lock.Lock()
	defer lock.Unlock()
	return !inner.FieldByName("recvBuf").IsNil()
}

// A stream from which everything was read keeps no buffer, and one that is
// waiting for a reader loses nothing.
func TestSweep(t *testing.T) {
	client, server := connect(t)
	there, here := streams(t, client, server)
	unreadThere, unread := streams(t, client, server)
	for _, s := range []*stream{there, unreadThere} {
		io.WriteString(s, "data")
	}
	if _, err := io.ReadFull(here, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	if err := unread.WaitRead(); err != nil {
		t.Fatal(err)
	}
	if !server.wire.sweeper.due.Load() {
		t.Error("nobody is to sweep after what was read")
	}
	server.wire.sweep()
	if hasBuffer(here) || !hasBuffer(unread) {
		t.Errorf("a buffer for nothing: %v; for what is there: %v", hasBuffer(here), hasBuffer(unread))
	}
	for _, s := range []*stream{there, unreadThere} {
		s.Close()
	}
	for s, want := range map[*stream]string{here: "", unread: "data"} {
		if got, err := io.ReadAll(s); string(got) != want || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
	}
}
