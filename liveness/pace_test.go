package liveness_test

import (
	"context"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

// A reading is how a peer reads: n bytes at a time.
type reading struct {
	n     int
	every time.Duration
}

func (r reading) from(c net.Conn, until <-chan struct{}) {
	b := make([]byte, r.n)
	for tick := time.NewTicker(r.every); ; {
		select {
		case <-tick.C:
			if _, err := io.ReadFull(c, b); err != nil {
				return
			}
		case <-until:
			tick.Stop()
			return
		}
	}
}

// pace runs a server that writes pieces of a size as long as it can, to a client that
// sends something all the time and reads as r says; n 0: not at all. It returns how the
// server's end ended, and after how long; nil: it did not.
func pace(t *testing.T, tr transport.Transport, cfg Config, framing codec.Codec, size int, r reading, timeout time.Duration) (*Error, time.Duration) {
	t.Helper()
	served := make(chan *Conn, 1)
	w := serve(t, &Server{Config: cfg, Codec: framing, Handler: func(_ context.Context, c *Conn) {
		served <- c
		var writing sync.WaitGroup
		writing.Go(func() {
			for size > 0 {
				if _, err := c.Write(make([]byte, size)); err != nil {
					return
				}
			}
		})
		io.Copy(io.Discard, struct{ io.Reader }{c})
		c.Close()
		writing.Wait()
	}}, tr)
	defer w.end()
	began := time.Now()
	peer := w.client(Client{Codec: framing, Policy: Sliding(time.Hour)})
	defer peer.Close()
	done := make(chan struct{})
	var peers sync.WaitGroup
	defer peers.Wait()
	defer peer.Close()
	defer close(done)
	peers.Go(func() {
		if r.n > 0 {
			r.from(peer, done)
		}
	})
	peers.Go(func() {
		for tick := time.NewTicker(100 * ms); ; {
			peer.Write([]byte{'.'})
			select {
			case <-tick.C:
			case <-done:
				tick.Stop()
				return
			}
		}
	})
	c := <-served
	select {
	case <-c.Done():
		return c.End(), time.Since(began)
	case <-time.After(timeout):
		return nil, timeout
	}
}

// A peer that takes less than MinPace is ended in time; one that takes more, in whatever
// portions, or for which nothing waits, is not.
func TestMinPace(t *testing.T) {
	for _, minPace := range []int{1000, 5000} { // a window's worth in one piece, and in several
		t.Run(strconv.Itoa(minPace), func(t *testing.T) { testMinPace(t, minPace) })
	}
}

func testMinPace(t *testing.T, minPace int) {
	const timeout = 4 * sec
	for _, wire := range []struct {
		name  string
		net   func() transport.Transport
		codec codec.Codec
	}{
		{"pipe", func() transport.Transport { return newPipes() }, codec.Raw},
		{"pipe-frames", func() transport.Transport { return newPipes() }, codec.Frame},
		{"memory", func() transport.Transport { return memory() }, codec.Raw},
		{"memory-frames", func() transport.Transport { return memory() }, codec.Frame},
	} {
		for _, test := range []struct {
			name string
			size int
			reading
			ends time.Duration // at the latest; 0: not at all
		}{
			{"Stuck", 1 << 20, reading{}, timeout*3/2 + 5*DefaultTick},
			{"StuckSmall", 10, reading{}, timeout*3/2 + 5*DefaultTick},
			{"Half", 1 << 20, reading{minPace / 2, sec}, 6 * timeout},
			{"Just", 1 << 20, reading{minPace * 11 / 10, sec}, 0},
			{"JustInBursts", 1 << 20, reading{minPace * 41 / 10, timeout}, 0},
			{"SmallWrites", 1, reading{100, timeout * 3 / 4}, 0},
			{"Idle", 0, reading{}, 0},
		} {
			t.Run(wire.name+"/"+test.name, func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					cfg := Config{Policy: Sliding(timeout), MinPace: minPace}
					end, took := pace(t, wire.net(), cfg, wire.codec, test.size, test.reading, 10*timeout)
					switch {
					case test.ends == 0 && end != nil:
						t.Errorf("ended after %v: %v", took, end)
					case test.ends == 0:
					case end == nil || end.Reason != TooSlow:
						t.Errorf("ended %v", end)
					case took < timeout || took > test.ends:
						t.Errorf("ended after %v, want %v to %v", took, timeout, test.ends)
					}
				})
			})
		}
	}
}

// The same holds on each transport.
func TestMinPaceOnEveryTransport(t *testing.T) {
	t.Parallel()
	const minPace = 100_000
	everyNetwork(t, func(t *testing.T, n network) {
		for _, test := range []struct {
			name string
			size int
			reading
			slow bool
		}{
			{"Shut", 1 << 20, reading{}, true},
			{"Slow", 1 << 20, reading{minPace, 100 * ms}, false},
			{"Idle", 0, reading{}, false},
		} {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				const timeout = 2 * sec
				wait := 5 * sec
				if test.slow { // stalls of this process extend the window
					wait = 20 * sec
				}
				end, took := pace(t, n, Config{Policy: Sliding(timeout), MinPace: minPace}, codec.Raw, test.size, test.reading, wait)
				switch {
				case test.slow && (end == nil || end.Reason != TooSlow):
					t.Errorf("ended %v", end)
				case test.slow && took < timeout:
					t.Errorf("ended after %v", took)
				case !test.slow && end != nil:
					t.Errorf("ended after %v: %v", took, end)
				}
			})
		}
	})
}

// MinPace is judged over a sliding policy's timeout; without one it is an error.
func TestMinPaceNeedsASlidingPolicy(t *testing.T) {
	l, err := memory().Listen(t.Context(), "a:1")
	if err != nil {
		t.Fatal(err)
	}
	handler := func(context.Context, *Conn) {}
	for _, srv := range []*Server{
		{Config: Config{Policy: Fixed(sec), MinPace: 1}, Handler: handler},
		{Config: Config{Policy: Sliding(sec), MinPace: -1}, Handler: handler},
	} {
		if err := srv.Serve(t.Context(), l); err == nil {
			t.Errorf("a pace of %d under %v was taken", srv.MinPace, srv.Policy)
		}
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	if _, err := NewListener(inner, &Config{Policy: Fixed(sec), MinPace: 1}).Accept(); err == nil {
		t.Error("a listener took it")
	}
}
