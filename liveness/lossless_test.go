package liveness_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
)

// slowly reads all of c, some 8 MB a second, and returns how much that was.
func slowly(t *testing.T, c net.Conn) (n int) {
	t.Helper()
	buf := make([]byte, 256<<10)
	for {
		k, err := io.ReadFull(c, buf)
		n += k
		switch err {
		case nil:
			time.Sleep(30 * ms)
		case io.EOF, io.ErrUnexpectedEOF:
			return n
		default:
			t.Errorf("after %d bytes: %v", n, err)
			return n
		}
	}
}

// What was written before a handler returned arrives, however slowly the peer reads, and
// although it goes on beating.
func TestRule12AnOrderlyEndLosesNothing(t *testing.T) {
	t.Parallel()
	const size = 6 << 20
	for name, n := range networks(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := serve(t, &Server{
				Config: Config{Policy: Sliding(10 * sec)}, Codec: codec.Auto,
				Handler: func(_ context.Context, c *Conn) {
					c.Read(make([]byte, 1))
					c.Write(make([]byte, size))
				},
			}, n)
			defer w.end()
			c := w.client(Client{Beat: 5 * ms})
			defer c.Close()
			io.WriteString(c, "x")
			if got := slowly(t, c); got != size {
				t.Errorf("%d of %d bytes arrived", got, size)
			}
			if e := c.End(); e == nil || e.Reason != Done || e.Initiator != Peer {
				t.Errorf("ended %v", e)
			}
		})
	}
}

// A drain lets an answer that is under way be finished and read.
func TestRule12ADrainLosesNothing(t *testing.T) {
	t.Parallel()
	const size = 4 << 20
	for name, n := range networks(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := serve(t, &Server{Config: Config{Policy: Sliding(10 * sec)}, Codec: codec.Auto, Drain: time.Minute, Handler: echo}, n)
			c := w.client(Client{})
			sent := make(chan error, 1)
			go func() {
				_, err := c.Write(make([]byte, size))
				c.CloseWrite()
				sent <- err
			}()
			if _, err := io.ReadFull(c, make([]byte, 1<<10)); err != nil {
				t.Fatal(err)
			}
			w.stop()
			if got := slowly(t, c) + 1<<10; got != size {
				t.Errorf("%d of %d bytes came back", got, size)
			}
			if err := <-sent; err != nil {
				t.Errorf("writing: %v", err)
			}
			c.Close()
			w.end()
		})
	}
}

// Shutdown gives a peer the time of its context to read the last answer, though it goes on
// beating, and Drain is over.
func TestRule12AShutdownLosesNothing(t *testing.T) {
	t.Parallel()
	const size = 6 << 20
	for name, n := range networks(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			written := make(chan struct{})
			w := serve(t, &Server{
				Config: Config{Policy: Sliding(10 * sec)}, Codec: codec.Auto, Drain: ms,
				Handler: func(_ context.Context, c *Conn) {
					c.Read(make([]byte, 1))
					c.Write(make([]byte, size))
					close(written)
				},
			}, n)
			c := w.client(Client{Beat: 5 * ms})
			io.WriteString(c, "x")
			got, piece := 0, make([]byte, 16<<10)
			for reading := true; reading && got < size; {
				k, err := c.Read(piece)
				if got += k; err != nil {
					t.Fatal(err)
				}
				select {
				case <-written:
					reading = false
				default:
				}
			}
			down := make(chan error)
			go func() { down <- w.srv.Shutdown(t.Context()) }()
			time.Sleep(2 * sec) // a peer that is slow
			if got += slowly(t, c); got != size {
				t.Errorf("%d of %d bytes arrived", got, size)
			}
			c.Close()
			if err := <-down; err != nil {
				t.Error(err)
			}
			w.end()
		})
	}
}

// What a client wrote, and its reason for closing, reach a server that still has much to
// send.
func TestRule12AClientsLastDataArrives(t *testing.T) {
	t.Parallel()
	for name, n := range networks(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const clients = 10
			w := serve(t, &Server{Config: Config{Policy: Sliding(10 * sec)}, Codec: codec.Auto, Handler: echo}, n)
			for range clients {
				c := w.client(Client{})
				if _, err := c.Write(make([]byte, 100<<10)); err != nil {
					t.Error(err)
				}
				c.CloseWith(Kicked, "")
				if !errors.Is(c.End(), Kicked) {
					t.Errorf("the client's end: %v", c.End())
				}
			}
			w.awaitAllClosed(KindSession, clients)
			w.end()
			if got := w.srv.Counts(KindSession).Claimed[Kicked]; got != clients {
				t.Errorf("%d of %d were ended as they said: %v", got, clients, w.srv.Counts(KindSession))
			}
		})
	}
}
