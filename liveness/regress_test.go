package liveness_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/transporttest"
)

// Each test here failed once, against code that looked right.

// A rawServer is a server that sends given bytes in one piece.
func rawServer(t *testing.T, send string) (transport.Transport, string, func()) {
	t.Helper()
	mem := memory()
	l, err := mem.Listen(t.Context(), "raw")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		sess, err := l.Accept(t.Context())
		if err != nil {
			return
		}
		st, err := sess.AcceptStream(t.Context())
		if err == nil {
			io.WriteString(st, send)
			io.Copy(io.Discard, st)
			st.Close()
		}
		<-sess.Context().Done()
	})
	return mem, "raw", func() { wg.Wait(); l.Close() }
}

const (
	data = "\x02\x0a0123456789"
	end  = "\x02\x00"
	bye  = "\x05\x00\x00"
)

func TestDataBeforeTheEndIsRead(t *testing.T) {
	for _, last := range []string{end, bye} {
		for _, size := range []int{1, 4, 64, 100} {
			inBubble(t, func(t *testing.T) {
				tr, addr, stop := rawServer(t, hello+data+last)
				defer stop()
				c, err := (&Client{Engine: new(Engine), NoBeat: true}).Dial(t.Context(), tr, addr)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				var got strings.Builder
				buf := make([]byte, size)
				for {
					n, err := c.Read(buf)
					got.Write(buf[:n])
					if err != nil {
						break
					}
				}
				if got.String() != "0123456789" {
					t.Errorf("read %q, %d bytes at a time", got.String(), size)
				}
			})
		}
	}
}

func TestAnInvalidHelloDoesNotPanicTheClient(t *testing.T) {
	for _, terms := range []string{
		"\x00\x80\x80\xa5\x94\x9ct\x00",                    // beat every 4e12 ms
		"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01\x00", // a timeout without end
		"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02", // and a beat without end
		"\x00\x01\x02", // beat every millisecond
	} {
		inBubble(t, func(t *testing.T) {
			tr, addr, stop := rawServer(t, "\x01"+string(rune(len(terms)))+terms)
			defer stop()
			c, err := (&Client{Engine: new(Engine)}).Dial(t.Context(), tr, addr)
			if err == nil {
				c.Close()
			}
		})
	}
}

// A server whose Hello breaks the codec's rules gets a Close frame, as it would later on.
func TestRule6AnInvalidHelloIsAnswered(t *testing.T) {
	for _, tt := range []struct {
		sends string
		want  Reason
	}{
		{"\x01\x00", ProtocolError},
		{"\x7f", ProtocolError},
		{hello + "\x02\xff\xff\xff\xff\x0f", TooLarge},
	} {
		bothKinds(t, func(t *testing.T, tr transport.Transport) {
			var said []byte
			w := serve(t, &Server{
				Config: Config{Policy: Sliding(time.Minute)},
				Handler: func(_ context.Context, c *Conn) {
					var wg sync.WaitGroup
					wg.Go(func() { io.WriteString(c, tt.sends) })
					said, _ = io.ReadAll(c)
					wg.Wait()
				},
			}, tr)
			defer w.end()
			_, err := (&Client{Engine: new(Engine)}).Dial(t.Context(), w.net, w.addr)
			var e *Error
			if !errors.As(err, &e) || e.Reason != tt.want || e.Initiator != Local {
				t.Errorf("Dial: %v", err)
			}
			synctest.Wait()
			if _, single := tr.(*pipes); single { // which carries no code, so the codec says it
				if bye := string([]byte{5, byte(tt.want.Code())}); !strings.Contains(string(said), bye) {
					t.Errorf("the server got %q, want a Close for %v", said, tt.want)
				}
				return
			}
			if e := w.one(KindSession).End; e.Reason != tt.want || e.Initiator != Peer {
				t.Errorf("the server's session ended %v, want %v", e, tt.want)
			}
		})
	}
}

// An end that comes with the Hello, during the dial, counts its age from the dial.
func TestAgeOfAnEndThatComesWithTheHello(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := new(Engine)
		e.Grant(Sliding(time.Minute), func(*Error) {}).Release()
		time.Sleep(time.Hour)
		tr, addr, stop := rawServer(t, hello+"\x05\x09\x00")
		defer stop()
		c, err := (&Client{Engine: e}).Dial(t.Context(), tr, addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
		var end *Error
		if !errors.As(err, &end) || end.Reason != Overload || end.Age > sec {
			t.Errorf("Read: %v (%#v)", err, end)
		}
	})
}

// Beats and probes are sent on a connection that is busy writing.
func TestABusyWriterStillBeatsAndProbes(t *testing.T) {
	for _, counts := range []codec.Evidence{codec.Bytes, codec.Beats} {
		inBubble(t, func(t *testing.T) {
			w := serve(t, &Server{
				Config: Config{Policy: Sliding(6 * sec), Evidence: counts}, Codec: codec.Auto,
				Handler: func(_ context.Context, c *Conn) { // takes its time, and says nothing
					buf := make([]byte, 32<<10)
					for {
						if _, err := c.Read(buf); err != nil {
							return
						}
						time.Sleep(100 * ms)
					}
				},
			}, &transporttest.Memory{Buffer: 8 << 10})
			defer w.end()
			c := w.client(Client{})
			var wg sync.WaitGroup
			wg.Go(func() { io.Copy(io.Discard, c) })
			start := time.Now()
			for time.Since(start) < time.Minute {
				if _, err := c.Write(make([]byte, 1<<20)); err != nil {
					t.Fatalf("a healthy upload ended after %v: %v", time.Since(start), err)
				}
			}
			c.Close()
			wg.Wait()
		})
	}
}

func TestRule8TheCauseIsSetBeforeTheHandlerWakes(t *testing.T) {
	t.Parallel()
	plain := networks(t)["tcp"]
	for range 50 {
		missing := make(chan bool, 1)
		w := serve(t, &Server{
			Config: Config{Policy: Fixed(20 * ms), Engine: &Engine{Tick: ms}},
			Handler: func(ctx context.Context, c *Conn) {
				io.Copy(io.Discard, c)
				missing <- context.Cause(ctx) == nil
			},
		}, plain)
		sess, _ := w.dial()
		if <-missing {
			t.Fatal("the handler woke to a context without a cause")
		}
		sess.Close(0, "")
		w.end()
	}
}

// A connection that another goroutine has begun to close is closed when Close returns.
func TestCloseReturnsWhenClosed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute)}, Codec: codec.Auto}, memory())
		defer w.end()
		cut := &cutter{Transport: w.net}
		w.net = cut
		c := w.client(Client{})
		go c.Close()
		synctest.Wait()
		c.Close()
		if cut.last.Context().Err() == nil {
			t.Error("the session is open after Close")
		}
	})
}

// A server that ends its data and vanishes does not delay the client's Close.
func TestCloseDoesNotBlockAfterTheServersEnd(t *testing.T) {
	for range 20 {
		inBubble(t, func(t *testing.T) {
			w := serve(t, &Server{
				Config: Config{Policy: Sliding(time.Hour)}, Codec: codec.Auto,
				Handler: func(ctx context.Context, c *Conn) { c.Read(make([]byte, 1)); c.CloseWrite(); <-ctx.Done() },
			}, memory())
			cut := &cutter{Transport: w.net}
			w.net = cut
			c := w.client(Client{})
			c.Write([]byte("x"))
			if _, err := c.Read(make([]byte, 1)); err != io.EOF {
				t.Fatal(err)
			}
			transporttest.Cut(cut.last)
			start := time.Now()
			c.Close()
			if d := time.Since(start); d > 5*sec {
				t.Errorf("Close took %v", d)
			}
			w.end()
		})
	}
}

// An always is a listener that always has a session ready.
type always struct{ transport.Listener }

func (a always) Accept(context.Context) (transport.Session, error) {
	here, there := net.Pipe()
	there.Close()
	return transport.Single(here), nil
}

func TestDrainBeginsWhilePeersConnect(t *testing.T) {
	l, err := memory().Listen(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*ms)
	defer cancel()
	srv := &Server{Config: Config{Policy: Sliding(time.Minute), Engine: new(Engine)}, Handler: echo}
	if err := srv.Serve(ctx, always{l}); err != nil {
		t.Error(err)
	}
}

func TestATransportErrorIsNotNetErrClosed(t *testing.T) {
	lost := &Error{Reason: TransportLost, Err: syscall.ETIMEDOUT}
	if errors.Is(lost, net.ErrClosed) || errors.Is(lost, os.ErrDeadlineExceeded) || lost.Timeout() {
		t.Error("a lost connection passes for closed, or for a deadline")
	}
}

func TestDeadlineOfAStreamIsTheEarlierOne(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		deadline := make(chan time.Duration, 1)
		w := serve(t, &Server{
			Config: Config{Policy: Sliding(10 * sec)}, Streams: Fixed(time.Hour),
			Handler: func(_ context.Context, c *Conn) {
				c.Read(make([]byte, 1))
				deadline <- time.Until(c.Deadline())
			},
		}, memory())
		defer w.end()
		sess, st := w.dial()
		st.Write([]byte("x"))
		if d := <-deadline; d > 10*sec+DefaultTick {
			t.Errorf("the stream's deadline is in %v, its session's in 10s", d)
		}
		sess.Close(0, "")
	})
}
