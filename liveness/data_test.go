package liveness_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/tcp"
)

// Data gets all of the peer's data, in order, however it is split, and what it writes
// arrives. The peer's end closes the connection.
func TestDataEchoesEverything(t *testing.T) {
	sent := make([]byte, 3<<20)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range sent {
		sent[i] = byte(rng.Uint32())
	}
	everyNetwork(t, func(t *testing.T, n network) {
		for _, code := range []codec.Codec{codec.Raw, codec.Auto} {
			t.Run(code.Name(), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(3, 4))
				w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute)}, Codec: code, Data: echoData}, n)
				defer w.end()
				client := Client{Codec: codec.Frame}
				if code == codec.Raw {
					client.Codec = codec.Raw
				}
				c := w.client(client)
				defer c.Close()
				go func() {
					for rest := sent; len(rest) > 0; {
						k := min(len(rest), 1+rng.IntN(40_000))
						c.Write(rest[:k])
						rest = rest[k:]
					}
				}()
				got := make([]byte, len(sent))
				if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent) {
					t.Fatalf("%d bytes did not come back as they went: %v", len(sent), err)
				}
				c.CloseWrite()
				if k, err := c.Read(got); err == nil {
					t.Errorf("read %d bytes after the end", k)
				}
				c.Close() // of a session that may carry more
				w.awaitClosed(KindSession)
			})
		}
	})
}

// Data may call Read. What it leaves comes with the next call.
func TestDataMayCallRead(t *testing.T) {
	everyNetwork(t, func(t *testing.T, n network) {
		first := true
		w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute)}, Codec: codec.Auto, Data: func(c *Conn, p []byte) error {
			if !first {
				return echoData(c, p)
			}
			first = false
			c.Write(p)
			three := make([]byte, 3)
			if _, err := io.ReadFull(c, three); err != nil {
				return err
			}
			return echoData(c, three)
		}}, n)
		defer w.end()
		c := w.client(Client{})
		defer c.Close()
		say(t, c, "a")
		say(t, c, "bcdefghijk")
	})
}

// An idle session on a transport that parks holds no goroutine, before its first byte and
// after its last.
func TestDataParks(t *testing.T) {
	const n = 50
	w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute)}, Codec: codec.Auto, Data: echoData}, network{server: tcp.Transport{Parked: true}, client: tcp.Transport{}})
	defer w.end()
	before := runtime.NumGoroutine()
	var conns []net.Conn
	for range n {
		_, st := w.dial()
		conns = append(conns, st)
		defer st.Close()
	}
	for range 3 {
		for _, c := range conns {
			say(t, c, "hello")
		}
	}
	// The last echo may be read before its goroutine has ended.
	for deadline := time.Now().Add(10 * sec); runtime.NumGoroutine() > before+5 && time.Now().Before(deadline); {
		time.Sleep(ms)
	}
	if k := runtime.NumGoroutine() - before; k > 5 {
		t.Errorf("%d idle sessions hold %d goroutines", n, k)
	}
	if live := w.srv.Counts(KindSession).Live; live != n {
		t.Errorf("%d live", live)
	}
}

// Each way to end a connection from Data has its reason and one event, and leaves nothing
// behind.
func TestDataEnds(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	tests := []struct {
		name string
		data func(c *Conn, p []byte) error
		want Reason
		text string
	}{
		{"Close", func(c *Conn, p []byte) error { return c.Close() }, Done, ""},
		{"CloseWith", func(c *Conn, p []byte) error { return c.CloseWith(Kicked, "out") }, Kicked, ""},
		{"Error", func(c *Conn, p []byte) error { return broken }, Internal, "broken"},
		{"Panic", func(c *Conn, p []byte) error { panic("boom") }, Internal, "TestDataEnds"},
		{"Elsewhere", func(c *Conn, p []byte) error { go c.CloseWith(Superseded, ""); return nil }, Superseded, ""},
		{"Hanging", func(c *Conn, p []byte) error { // in a Read of its own
			_, err := c.Read(make([]byte, 100))
			return err
		}, Silent, ""},
	}
	everyNetwork(t, func(t *testing.T, n network) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				policy := Sliding(time.Minute)
				if test.want == Silent {
					policy = Sliding(sec)
				}
				w := serve(t, &Server{Config: Config{Policy: policy}, Codec: codec.Auto, Streams: nil, Data: test.data}, n)
				defer w.end()
				c := w.client(Client{NoBeat: true})
				defer c.Close()
				c.Write([]byte("now"))
				kind := KindSession
				if n.codes && test.want != Silent {
					kind = KindStream
				}
				if kind == KindSession {
					_, err := io.Copy(io.Discard, c)
					var e *Error
					if test.want != Done && (!errors.As(err, &e) || e.Reason != test.want) {
						t.Errorf("the peer sees %v", err)
					}
				}
				w.awaitClosed(kind)
				e := w.one(kind)
				if e.End.Reason != test.want || e.End.Initiator != Local || !strings.Contains(e.End.Error(), test.text) && (e.End.Err == nil || !strings.Contains(e.End.Err.Error(), test.text)) {
					t.Errorf("ended %v (%v)", e.End, e.End.Err)
				}
			})
		}
	})
}

// An error of Data closes the connection, even one after which a reader would go on.
func TestATimeoutFromDataEndsTheConnection(t *testing.T) {
	for name, tr := range map[string]func() transport.Transport{
		"multiplexed": memory,
		"single":      func() transport.Transport { return newPipes() },
		"parked":      func() transport.Transport { return newParkedPipes() },
	} {
		for _, code := range []codec.Codec{codec.Raw, codec.Line} {
			for what, data := range map[string]func(c *Conn, p []byte) error{
				"a write cut short": func(c *Conn, p []byte) error {
					c.SetWriteDeadline(time.Now().Add(sec))
					if _, err := c.Write(make([]byte, 1<<20)); err != nil {
						return err
					}
					return os.ErrDeadlineExceeded // of a pipe without deadlines, too
				},
				"nothing to read": func(c *Conn, p []byte) error { return transport.ErrWouldBlock },
			} {
				t.Run(name+"/"+code.Name()+"/"+what, func(t *testing.T) {
					inBubble(t, func(t *testing.T) {
						w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute)}, Codec: code, Data: data}, tr())
						defer w.end()
						sess, st := w.dial()
						defer sess.Close(0, "")
						st.Write([]byte("hello\n"))
						until(time.Now().Add(2 * sec)) // without reading
						kind := KindSession
						if sess.Multiplexed() {
							kind = KindStream
						}
						if e := w.one(kind); e.End.Reason != Internal || e.End.Initiator != Local {
							t.Errorf("ended %v", e.End)
						}
					})
				})
			}
		}
	}
}

// Serve waits for running calls of Data, and for nothing else.
func TestRule12ServeWaitsForData(t *testing.T) {
	for name, tr := range map[string]func() transport.Transport{
		"parked":   func() transport.Transport { return newParkedPipes() },
		"unparked": memory,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				leave := make(chan struct{})
				inside := false
				w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute)}, Data: func(c *Conn, p []byte) error {
					inside = true
					<-leave
					inside = false
					return nil
				}}, tr())
				_, st := w.dial()
				defer st.Close()
				_, idle := w.dial()
				defer idle.Close()
				st.Write([]byte("hello"))
				synctest.Wait()
				if !inside {
					t.Fatal("Data was not called")
				}
				w.srv.Close()
				synctest.Wait()
				select {
				case <-w.served:
					t.Fatal("Serve returned while Data was at it")
				default:
				}
				close(leave)
				synctest.Wait()
				if inside {
					t.Error("Data is still at it")
				}
				w.end()
			})
		})
	}
}

// If Data calls runtime.Goexit, its connection ends, and Serve does not wait for it.
func TestRule12GoexitInData(t *testing.T) {
	for name, tr := range map[string]func() transport.Transport{
		"parked":   func() transport.Transport { return newParkedPipes() },
		"unparked": func() transport.Transport { return newPipes() },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute)}, Data: func(c *Conn, p []byte) error {
					runtime.Goexit()
					return nil
				}}, tr())
				_, st := w.dial()
				defer st.Close()
				st.Write([]byte("hello"))
				synctest.Wait()
				if e := w.one(KindSession); e.End.Reason != Done || e.End.Initiator != Local {
					t.Errorf("ended %v", e.End)
				}
				w.end()
			})
		})
	}
}

// Data that a read returns together with ErrWouldBlock is counted and renews the lease.
func TestRule2DataReadWithErrWouldBlockIsEvidence(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		tr := &pipes{make(chan net.Conn), func() (a, b net.Conn) {
			a, b = parkedPair()
			return a, lastPiece{b.(*parkedPipe)}
		}}
		w := serve(t, &Server{Config: Config{Policy: Sliding(sec)}, Data: echoData}, tr)
		defer w.end()
		_, st := w.dial()
		defer st.Close()
		for range 20 {
			say(t, st, "hello")
			time.Sleep(900 * ms)
		}
		w.wantEnd(time.Now().Add(100*ms), Silent)
		if e := w.one(KindSession); e.BytesIn != 100 {
			t.Errorf("%d bytes in", e.BytesIn)
		}
	})
}

// A lastPiece returns data and an error at once, as TLS does if an alert follows the
// data.
type lastPiece struct{ *parkedPipe }

func (p lastPiece) TryRead(b []byte) (int, error) {
	n, err := p.parkedPipe.TryRead(b)
	if err == nil {
		err = transport.ErrWouldBlock
	}
	return n, err
}

// Connections open, talk and end in all ways at once: the counts are right, and Data is
// never called twice at a time for one connection.
func TestRule5DataUnderLoad(t *testing.T) {
	t.Parallel()
	var at sync.Map
	w := serve(t, &Server{Config: Config{Policy: Sliding(200 * ms)}, Codec: codec.Auto, Data: func(c *Conn, p []byte) error {
		if _, twice := at.LoadOrStore(c, true); twice {
			t.Error("Data is called twice at a time")
		}
		defer at.Delete(c)
		if p[len(p)-1] == 'q' {
			return c.Close()
		}
		_, err := c.Write(p)
		return err
	}}, network{server: tcp.Transport{Parked: true}, client: tcp.Transport{}})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(3, uint64(g)))
			for range 60 {
				st, err := net.Dial("tcp", w.addr)
				if err != nil {
					t.Error(err)
					return
				}
				for range rng.IntN(4) {
					st.Write([]byte("hello"))
					if rng.IntN(2) == 0 {
						st.Read(make([]byte, 5))
					}
				}
				switch rng.IntN(4) {
				case 0:
					st.Write([]byte("q"))
					io.Copy(io.Discard, st)
				case 1:
					st.(*net.TCPConn).SetLinger(0)
				case 2:
					if rng.IntN(5) == 0 {
						io.Copy(io.Discard, st) // until it is judged silent
					}
				}
				st.Close()
			}
		})
	}
	wg.Wait()
	w.end()
}

func TestServerNeedsDataOrHandler(t *testing.T) {
	for _, s := range []*Server{
		{Config: Config{Policy: Sliding(sec)}},
		{Config: Config{Policy: Sliding(sec)}, Handler: echo, Data: echoData},
	} {
		l, err := memory().Listen(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Serve(context.Background(), l); err == nil {
			t.Error("it serves")
		}
	}
}
