package liveness_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/tcp"
	"github.com/livenet/livenet/transport/yamux"
)

var muxed = network{server: yamux.Transport{Inner: tcp.Transport{}}, client: yamux.Transport{Inner: tcp.Transport{}}, codes: true}

// held returns how many goroutines of this package serve sessions and streams.
func held() (n int) {
	b := make([]byte, 1<<20)
	for len(b) == runtime.Stack(b, true) {
		b = make([]byte, 2*len(b))
	}
	b = b[:runtime.Stack(b, true)]
	for _, g := range strings.Split(string(b), "\n\n") {
		if strings.Contains(g, "liveness.(*session)") || strings.Contains(g, "liveness.(*Conn)") {
			n++
		}
	}
	return n
}

// awaitHeld waits until there are n of them: a connection may be parked a little after it
// has answered.
func awaitHeld(t *testing.T, want int) {
	t.Helper()
	for end := time.Now().Add(10 * sec); held() != want; time.Sleep(ms) {
		if time.Now().After(end) {
			t.Fatalf("the server holds %d goroutines, not %d", held(), want)
		}
	}
}

// If the transport can wait for streams and for input without goroutines, idle sessions
// and idle streams hold none.
func TestStreamsPark(t *testing.T) {
	w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute)}, Codec: codec.Auto, Data: echoData}, muxed)
	defer w.end()
	const sessions, streams = 10, 20
	var opened []transport.Stream
	for range sessions {
		sess, err := muxed.Dial(t.Context(), w.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer sess.Close(0, "")
		for range streams {
			st, err := sess.OpenStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			opened = append(opened, st)
		}
	}
	for range 3 {
		for _, st := range opened {
			say(t, st, "hello")
		}
		awaitHeld(t, 0)
	}
	if live := w.srv.Counts(KindStream).Live; live != sessions*streams {
		t.Errorf("%d live", live)
	}
	for _, st := range opened {
		st.CloseWrite()
		if _, err := io.Copy(io.Discard, st); err != nil {
			t.Error(err)
		}
	}
	awaitHeld(t, 0)
}

// With a Handler, only the session holds none.
func TestSessionsPark(t *testing.T) {
	w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute)}, Handler: echo}, muxed)
	defer w.end()
	for range 10 {
		sess, st := w.dial()
		defer sess.Close(0, "")
		say(t, st, "hello")
		st.Close()
	}
	awaitHeld(t, 0)
}

// Serve waits for running calls of Data, and for nothing else, however the session ends.
func TestRule12ServeWaitsForStreams(t *testing.T) {
	for name, end := range map[string]func(*world, transport.Session, *Conn){
		"the server":  func(w *world, _ transport.Session, _ *Conn) { w.srv.Close() },
		"the peer":    func(w *world, s transport.Session, _ *Conn) { s.Close(3, ""); w.awaitClosed(KindSession); w.stop() },
		"the handler": func(w *world, _ transport.Session, c *Conn) { c.CloseWith(Kicked, ""); w.stop() },
	} {
		t.Run(name, func(t *testing.T) {
			entered, leave := make(chan *Conn), make(chan struct{})
			var inside atomic.Bool
			w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute)}, Drain: ms, Data: func(c *Conn, p []byte) error {
				inside.Store(true)
				entered <- c
				<-leave
				inside.Store(false)
				return nil
			}}, muxed)
			sess, st := w.dial()
			defer sess.Close(0, "")
			idle, err := sess.OpenStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer idle.Close()
			st.Write([]byte("hello"))
			end(w, sess, <-entered)
			select {
			case <-w.served:
				t.Error("Serve returned while Data was at it")
			case <-time.After(20 * ms):
			}
			close(leave)
			if err := <-w.served; err != nil {
				t.Error(err)
			}
			if inside.Load() {
				t.Error("Serve returned while Data was at it")
			}
			w.served <- nil
			w.end()
		})
	}
}

// A drain lets the streams of a session finish, and ends with the last of them.
func TestDrainWaitsForStreams(t *testing.T) {
	w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute)}, Codec: codec.Frame, Drain: time.Minute, Data: echoData}, muxed)
	var clients []*Conn
	for range 3 {
		c := w.client(Client{})
		say(t, c, "hello")
		clients = append(clients, c)
	}
	var reading sync.WaitGroup
	for _, c := range clients {
		reading.Go(func() { io.Copy(io.Discard, c) })
	}
	w.stop()
	for i, c := range clients {
		select {
		case <-c.Draining():
		case <-time.After(8 * sec):
			t.Fatal("the client was not asked to finish")
		}
		if i == len(clients)-1 {
			select {
			case <-w.served:
				t.Error("Serve returned before the last one had gone")
			case <-time.After(20 * ms):
			}
		}
		c.Close()
	}
	reading.Wait()
	if err := <-w.served; err != nil {
		t.Error(err)
	}
	w.served <- nil
	w.end()
	for _, k := range []Kind{KindSession, KindStream} {
		if n := w.srv.Counts(k).Claimed[Done]; n != uint64(len(clients)) {
			t.Errorf("%d %vs are done", n, k)
		}
	}
}

// A panic of Data ends its stream, but not the session or its other streams.
func TestPanicEndsOneStream(t *testing.T) {
	w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute)}, Data: func(c *Conn, p []byte) error {
		if p[0] == 'p' {
			panic("boom")
		}
		return echoData(c, p)
	}}, muxed)
	defer w.end()
	sess, st := w.dial()
	defer sess.Close(0, "")
	say(t, st, "hello")
	bad, err := sess.OpenStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	bad.Write([]byte("panic"))
	w.awaitClosed(KindStream)
	if e := w.one(KindStream); e.End.Reason != Internal {
		t.Errorf("ended %v", e.End)
	}
	var ce *transport.CloseError
	if _, err := io.Copy(io.Discard, bad); !errors.As(err, &ce) || ce.Code != Internal.Code() {
		t.Errorf("the peer sees %v", err)
	}
	say(t, st, "hello")
}

// Streams and sessions open, talk and end in all ways at once: the counts are right, and
// Data is never called twice at a time for one connection.
func TestRule5StreamsUnderLoad(t *testing.T) {
	t.Parallel()
	var at sync.Map
	w := serve(t, &Server{Config: Config{Policy: Sliding(300 * ms)}, Streams: Sliding(200 * ms), Data: func(c *Conn, p []byte) error {
		if _, twice := at.LoadOrStore(c, true); twice {
			t.Error("Data is called twice at a time")
		}
		defer at.Delete(c)
		if p[len(p)-1] == 'q' {
			return c.Close()
		}
		return echoData(c, p)
	}}, muxed)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(3, uint64(g)))
			for range 25 {
				sess, err := muxed.Dial(context.Background(), w.addr)
				if err != nil {
					t.Error(err)
					return
				}
				for range rng.IntN(6) {
					st, err := sess.OpenStream(context.Background())
					if err != nil {
						break // its session was judged
					}
					for range rng.IntN(4) {
						st.Write([]byte("hello"))
						if rng.IntN(2) == 0 {
							st.Read(make([]byte, 5))
						}
					}
					switch rng.IntN(5) {
					case 0:
						st.Write([]byte("q"))
						io.Copy(io.Discard, st)
					case 1:
						st.Reset(1)
					case 2:
						st.CloseWrite()
					case 3:
						if rng.IntN(8) == 0 {
							io.Copy(io.Discard, st) // until it is judged silent
						}
					}
					if rng.IntN(2) == 0 {
						st.Close()
					}
				}
				sess.Close(0, "")
			}
		})
	}
	wg.Wait()
	w.end()
}
