package yamux

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livenet/livenet/transport"
)

var (
	_ transport.Acceptor = (*session)(nil)
	_ transport.Pollable = (*stream)(nil)
)

// quiet is how long a test waits for something that must not happen.
const quiet = 20 * time.Millisecond

// woken is a Waker that sends to the channel.
type woken chan struct{}

func (w woken) Wake() { w <- struct{}{} }

func (w woken) wait(t *testing.T) {
	t.Helper()
	select {
	case <-w:
	case <-time.After(maxWait):
		t.Fatal("Wake was not called")
	}
}

// not fails the test if Wake is called.
func (w woken) not(t *testing.T) {
	t.Helper()
	select {
	case <-w:
		t.Error("woken for nothing")
	case <-time.After(quiet):
	}
}

// tryAll reads with TryRead and WakeOnRead until there is an error.
func tryAll(t *testing.T, s *stream, p []byte) (got []byte, err error) {
	t.Helper()
	w := make(woken, 1)
	for {
		n, err := s.TryRead(p)
		got = append(got, p[:n]...)
		if err == transport.ErrWouldBlock {
			s.WakeOnRead(w)
			w.wait(t)
		} else if err != nil {
			return got, err
		}
	}
}

// TryRead returns all that is sent, and then EOF, whatever the sizes.
func TestTryReadReturnsAllThenEOF(t *testing.T) {
	client, server := connect(t)
	sent := make([]byte, 1<<20)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range sent {
		sent[i] = byte(rng.Uint32())
	}
	var wg sync.WaitGroup
	for _, size := range []int{7, 1000, 64 << 10} {
		there, here := streams(t, client, server)
		wg.Go(func() {
			for rest := sent; len(rest) > 0; {
				n := min(len(rest), 1+rand.IntN(20_000))
				there.Write(rest[:n])
				rest = rest[n:]
			}
			there.CloseWrite()
		})
		wg.Go(func() {
			if got, err := tryAll(t, here, make([]byte, size)); !bytes.Equal(got, sent) || err != io.EOF {
				t.Errorf("by %d: read %d bytes, %v", size, len(got), err)
			}
		})
	}
	wg.Wait()
}

// Data and every kind of end wake once, before or after WakeOnRead is called. TryRead returns
// the same error as Read.
func TestWakeOnReadWakesOnce(t *testing.T) {
	for _, test := range []struct {
		name   string
		happen func(here, there *stream)
		want   error // errors.Is; nil: there is something to read
	}{
		{"data", func(_, there *stream) { there.Write([]byte("data")) }, nil},
		{"data and the end", func(_, there *stream) { there.Write([]byte("data")); there.Close() }, nil},
		{"the peer's end", func(_, there *stream) { there.CloseWrite() }, io.EOF},
		{"the peer's reset", func(_, there *stream) { there.Reset(7) }, &transport.CloseError{}},
		{"the peer's session's end", func(_, there *stream) { there.session.Close(3, "") }, &transport.CloseError{}},
		{"Close", func(here, _ *stream) { here.Close() }, net.ErrClosed},
		{"Reset", func(here, _ *stream) { here.Reset(7) }, net.ErrClosed},
		{"the session's end", func(here, _ *stream) { here.session.Close(0, "") }, net.ErrClosed},
		{"a lost connection", func(here, _ *stream) { here.session.wire.conn.Close() }, net.ErrClosed},
	} {
		for _, order := range []string{"waiting", "late"} {
			for _, state := range []string{"open", "half closed"} {
				t.Run(test.name+"/"+order+"/"+state, func(t *testing.T) {
					t.Parallel()
					client, server := connect(t)
					there, here := streams(t, client, server)
					if state == "half closed" {
						here.CloseWrite()
					}
					w := make(woken, 2)
					p := make([]byte, 10)
					if n, err := here.TryRead(p); n != 0 || err != transport.ErrWouldBlock {
						t.Fatalf("TryRead of nothing: %d, %v", n, err)
					}
					if order == "waiting" {
						here.WakeOnRead(w)
					}
					test.happen(here, there)
					if order == "late" {
						early := make(woken, 1)
						here.WakeOnRead(early)
						early.wait(t)
						here.WakeOnRead(w)
					}
					w.wait(t)
					n, err := here.TryRead(p)
					if test.want == nil {
						if string(p[:n]) != "data" || err != nil {
							t.Errorf("TryRead: %q, %v", p[:n], err)
						}
						return
					}
					_, readErr := here.Read(p)
					if n != 0 || err == nil || readErr == nil || err.Error() != readErr.Error() {
						t.Errorf("TryRead: %d, %v; Read: %v", n, err, readErr)
					}
					if _, ok := errors.AsType[*transport.CloseError](err); !ok && !errors.Is(err, test.want) {
						t.Errorf("TryRead: %v", err)
					}
					w.not(t)
				})
			}
		}
	}
}

// TryRead ignores deadlines, and a deadline does not wake.
func TestTryReadIgnoresDeadlines(t *testing.T) {
	client, server := connect(t)
	there, here := streams(t, client, server)
	w := make(woken, 1)
	here.WakeOnRead(w)
	here.SetDeadline(longAgo)
	w.not(t)
	if _, err := here.TryRead(make([]byte, 1)); err != transport.ErrWouldBlock {
		t.Errorf("TryRead: %v", err)
	}
	there.Write([]byte("data"))
	w.wait(t)
	p := make([]byte, 10)
	if n, err := here.TryRead(p); string(p[:n]) != "data" || err != nil {
		t.Errorf("TryRead: %q, %v", p[:n], err)
	}
}

// TryRead beside a blocked Read neither waits for it nor takes its input.
func TestTryReadBesideRead(t *testing.T) {
	client, server := connect(t)
	there, here := streams(t, client, server)
	read := make(chan string)
	go func() {
		p := make([]byte, 2)
		n, _ := io.ReadFull(here, p)
		read <- string(p[:n])
	}()
	for range 100 {
		if n, err := here.TryRead(make([]byte, 1)); n != 0 || err != transport.ErrWouldBlock {
			t.Fatalf("TryRead: %d, %v", n, err)
		}
	}
	io.WriteString(there, "data")
	if got := <-read; got != "da" {
		t.Errorf("Read: %q", got)
	}
	there.CloseWrite()
	if got, err := tryAll(t, here, make([]byte, 10)); string(got) != "ta" || err != io.EOF {
		t.Errorf("then %q, %v", got, err)
	}
}

// Input that arrives during WakeOnRead always wakes.
func TestWakeOnReadMissesNothing(t *testing.T) {
	client, server := connect(t)
	const parallel, rounds = 16, 200
	var wg sync.WaitGroup
	for range parallel {
		there, here := streams(t, client, server)
		wg.Go(func() {
			p := make([]byte, 4)
			for range rounds {
				if _, err := there.Write([]byte("beat")); err != nil {
					t.Error(err)
					return
				}
				if _, err := io.ReadFull(there, p); err != nil {
					t.Error(err)
					return
				}
			}
			there.Close()
		})
		wg.Go(func() {
			w := make(woken, 1)
			p := make([]byte, 10)
			for {
				n, err := here.TryRead(p)
				here.Write(p[:n])
				if err == transport.ErrWouldBlock {
					here.WakeOnRead(w)
					w.wait(t)
				} else if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
}

// cancelled returns a context that has ended.
func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// Every stream and the session's end wake.
func TestWakeOnStreamMissesNothing(t *testing.T) {
	client, server := connect(t)
	const n = backlog
	go func() {
		for range n {
			if s, err := client.OpenStream(context.Background()); err != nil {
				t.Error(err)
			} else {
				s.Close()
			}
		}
	}()
	w := make(woken, 1)
	for accepted := 0; accepted < n; {
		s, err := server.AcceptStream(cancelled())
		switch err {
		case nil:
			accepted++
			s.Close()
		case context.Canceled:
			server.WakeOnStream(w)
			w.wait(t)
		default:
			t.Fatal(err)
		}
	}
	if _, err := server.AcceptStream(cancelled()); err != context.Canceled {
		t.Errorf("AcceptStream of nothing: %v", err)
	}
	server.WakeOnStream(w)
	w.not(t)
	client.Close(7, "")
	w.wait(t)
	if _, err := server.AcceptStream(cancelled()); err == nil || err != context.Cause(server.Context()) {
		t.Errorf("AcceptStream at the end: %v", err)
	}
	server.WakeOnStream(w)
	w.wait(t)
}

// WakeOnRead and WakeOnStream use no goroutine.
func TestWaitingTakesNoGoroutine(t *testing.T) {
	client, server := connect(t)
	const n = 100
	w := make(woken, n+1)
	for range n {
		_, here := streams(t, client, server)
		if _, err := here.TryRead(make([]byte, 1)); err != transport.ErrWouldBlock {
			t.Fatal(err)
		}
		here.WakeOnRead(w)
	}
	server.WakeOnStream(w)
	if got := goroutines("transport/yamux.(*stream)", "transport/yamux.(*session)"); got != 0 {
		t.Errorf("%d goroutines wait", got)
	}
	server.Close(0, "")
	for range n + 1 {
		w.wait(t)
	}
}

// goroutines counts the goroutines, other than the caller's, whose stack contains one of
// the words.
func goroutines(words ...string) (n int) {
	b := make([]byte, 1<<20)
	for len(b) == runtime.Stack(b, true) {
		b = make([]byte, 2*len(b))
	}
	b = b[:runtime.Stack(b, true)]
	for _, g := range strings.Split(string(b), "\n\n")[1:] {
		for _, word := range words {
			if strings.Contains(g, word) {
				n++
				break
			}
		}
	}
	return n
}
