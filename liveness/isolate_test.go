package liveness_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

// What one connection waits for holds up no other.

// prompt is how late an end may be while others block: two ticks, and the time in which
// blocked workers are found.
const prompt = 6 * DefaultTick

// after is when a lease ends that was granted after those that block.
const after = sec + 2*DefaultTick

// more is more than maxWorkers.
const more = 100

func TestRule14BlockedCallbacksDelayNoExpiry(t *testing.T) {
	bubbled := func(t *testing.T, blocking func(e *Engine, block func())) {
		synctest.Test(t, func(t *testing.T) {
			e, release := new(Engine), make(chan struct{})
			blocking(e, func() { <-release })
			var late time.Duration
			start, ended := time.Now(), make(chan struct{})
			e.Grant(Fixed(after), func(*Error) { late = time.Since(start) - after; close(ended) })
			<-ended
			if late > prompt {
				t.Errorf("%v late", late)
			}
			time.Sleep(sec)
			if n := e.Stats().Blocked; n < more/2 { // nothing waits for the rest
				t.Errorf("%d of %d are known to block", n, more)
			}
			close(release)
			synctest.Wait()
			if n := e.Stats().Blocked; n != 0 {
				t.Errorf("%d block after all have returned", n)
			}
		})
	}
	t.Run("Grant", func(t *testing.T) {
		bubbled(t, func(e *Engine, block func()) {
			for range more {
				e.Grant(Fixed(sec), func(*Error) { block() })
			}
		})
	})
	t.Run("Events", func(t *testing.T) {
		bubbled(t, func(e *Engine, block func()) {
			cfg := &Config{Policy: Fixed(sec), Engine: e, ErrorLog: discard, Events: func(ev Event) {
				if ev.What == Closed {
					block()
				}
			}}
			for range more {
				_, conn := net.Pipe()
				NewConn(conn, cfg)
			}
		})
	})
	t.Run("Probe", func(t *testing.T) {
		bubbled(t, func(e *Engine, block func()) {
			for range more {
				e.Watch(blockingProbe{block})
			}
		})
	})
}

var discard = slog.New(slog.DiscardHandler)

// A blockingProbe is a subject whose Probe blocks.
type blockingProbe struct{ block func() }

func (m blockingProbe) Policy() Policy                        { return Sliding(2*sec, ProbeAfter(sec/2)) }
func (m blockingProbe) Heard() (ago time.Duration, _, _ bool) { return 0, false, false }
func (m blockingProbe) Arrived() (time.Duration, bool)        { return 0, false }
func (m blockingProbe) Probe() bool                           { m.block(); return true }
func (m blockingProbe) Expire(Expiry)                         {}

// A slowEnds is a transport whose sessions take a second to close, as if the peer did not
// read.
type slowEnds struct{ transport.Transport }

func (s slowEnds) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	l, err := s.Transport.Listen(ctx, addr)
	return slowEndsListener{l}, err
}

type slowEndsListener struct{ transport.Listener }

func (l slowEndsListener) Accept(ctx context.Context) (transport.Session, error) {
	sess, err := l.Listener.Accept(ctx)
	return slowEnd{sess}, err
}

type slowEnd struct{ transport.Session }

func (s slowEnd) Close(code uint64, text string) error {
	time.Sleep(sec)
	return s.Session.Close(code, text)
}

func TestRule14ClosingASessionDelaysNoOther(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := serve(t, &Server{Config: Config{Policy: Fixed(sec)}}, slowEnds{memory()})
		for range more {
			sess, st := w.dial()
			defer sess.Close(0, "")
			st.Write([]byte("x"))
		}
		w.awaitAllClosed(KindSession, more)
		for _, e := range w.closed(KindSession) {
			if e.Late > prompt {
				t.Fatalf("%v late", e.Late)
			}
		}
		w.end()
	})
}

// Peers whose window is full at a deadline delay no other connection.
func TestRule14BlockedPeersDelayNoOther(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := serve(t, &Server{
			Config: Config{Policy: Fixed(sec)}, Codec: codec.Frame,
			Handler: func(_ context.Context, c *Conn) {
				c.Read(make([]byte, 1))
				c.Write(make([]byte, 1<<20)) // until the end
			},
		}, newPipes())
		for range 10 * more {
			sess, st := w.dial()
			defer sess.Close(0, "")
			io.WriteString(st, "\xfeLN\x01"+hello+"\x02\x01x")
			st.Read(make([]byte, 100)) // the server's Hello
		}
		w.awaitAllClosed(KindSession, 10*more)
		for _, e := range w.closed(KindSession) {
			if e.Late > prompt {
				t.Fatalf("%v late", e.Late)
			}
		}
		w.end()
	})
}

// A dialled session of several streams may take long to close, too.
func TestRule14AClientsSlowCloseDelaysNoOther(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := new(Engine)
		mem := memory()
		w := serve(t, &Server{Config: Config{Policy: Fixed(time.Hour)}, Codec: codec.Frame}, mem)
		w.net = slowDials{mem}
		for range more {
			c := w.client(Client{Engine: e, Policy: Sliding(sec), NoBeat: true})
			defer c.Close()
		}
		start := time.Now()
		var late time.Duration
		ended := make(chan struct{})
		e.Grant(Fixed(after), func(*Error) { late = time.Since(start) - after; close(ended) })
		<-ended
		if late > prompt {
			t.Errorf("%v late", late)
		}
		time.Sleep(2 * sec)
		w.end()
	})
}

type slowDials struct{ transport.Transport }

func (s slowDials) Dial(ctx context.Context, addr string) (transport.Session, error) {
	sess, err := s.Transport.Dial(ctx, addr)
	return slowEnd{sess}, err
}

// Closing yamux over TLS would have to wait for a handshake with silent peers.
func TestRule14SilentYamuxPeersOverTLSEndTogether(t *testing.T) {
	const peers = 2 * more
	undisturbed(t, 50*ms, func(p *pulse) error {
		w := serve(t, &Server{Config: Config{Policy: Fixed(time.Hour), Opening: sec}}, networks(t)["yamux-tls"])
		defer w.end()
		for range peers {
			c, err := net.Dial("tcp", w.addr)
			if err != nil {
				return err
			}
			defer c.Close()
		}
		stop := p.every(DefaultTick / 2)
		w.awaitAllClosed(KindSession, peers)
		stop()
		for _, e := range w.closed(KindSession) {
			if e.Late > 300*ms {
				return errors.New("late by " + e.Late.String())
			}
		}
		return nil
	})
}

// A wrapped connection is one whose address takes long to tell: until it is closed,
// as that of a PROXY protocol's does whose header has not come.
type wrapped struct {
	net.Conn
	closed chan struct{}
	once   sync.Once
}

func (f *wrapped) RemoteAddr() net.Addr { <-f.closed; return f.Conn.RemoteAddr() }
func (f *wrapped) Close() error         { f.once.Do(func() { close(f.closed) }); return f.Conn.Close() }

// A slowAddrs is a listener of connections whose RemoteAddr blocks.
type slowAddrs struct{ closed chan struct{} }

func (slowAddrs) Addr() net.Addr { return &net.UnixAddr{Name: "foreign", Net: "unix"} }
func (f slowAddrs) Close() error { close(f.closed); return nil }

func (f slowAddrs) Accept() (net.Conn, error) {
	select {
	case <-f.closed:
		return nil, net.ErrClosed
	case <-time.After(ms):
	}
	_, conn := net.Pipe()
	return &wrapped{Conn: conn, closed: make(chan struct{})}, nil
}

// A slow RemoteAddr does not delay Accept or the lease, and does not change the order of
// events.
func TestRule14SlowAddressesDelayNoAccept(t *testing.T) {
	for name, accept := range map[string]func(t *testing.T, cfg Config, n int){
		"NewListener": func(t *testing.T, cfg Config, n int) {
			l := NewListener(slowAddrs{make(chan struct{})}, &cfg)
			defer l.Close()
			for range n {
				if _, err := l.Accept(); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(2 * sec)
		},
		"Server": func(t *testing.T, cfg Config, n int) {
			ctx, stop := context.WithTimeout(t.Context(), 2*sec)
			defer stop()
			s := &Server{Config: cfg, Handler: echo}
			if err := s.Serve(ctx, transport.SingleListener(slowAddrs{make(chan struct{})})); err != nil {
				t.Error(err)
			}
			if a := s.Counts(KindSession).Accepted; a < uint64(n) {
				t.Errorf("%d accepted", a)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var mu sync.Mutex
				ended, opened := map[uint64]time.Duration{}, map[uint64]time.Time{}
				start := time.Now()
				accept(t, Config{Policy: Sliding(time.Hour), Opening: sec, Engine: new(Engine), Events: func(e Event) {
					mu.Lock()
					defer mu.Unlock()
					switch e.What {
					case Opened:
						opened[e.ID] = e.Time
					case Closed:
						if ended[e.ID] = e.End.Age; opened[e.ID].IsZero() || e.Remote == nil {
							t.Errorf("closed before it was opened, or without its address: %v", e)
						}
					}
				}}, more)
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				if len(ended) < more {
					t.Errorf("%d have ended after %v", len(ended), time.Since(start))
				}
				for id, age := range ended {
					if age > sec+prompt {
						t.Errorf("%d ended after %v", id, age)
					}
				}
			})
		})
	}
}

// A session's events enclose those of its streams, however long each takes, and the
// counts match the events.
func TestRule5EventsAreInOrder(t *testing.T) {
	for slowest, is := range map[string]func(Event) bool{
		"session opened": func(e Event) bool { return e.What == Opened && e.Kind == KindSession },
		"stream opened":  func(e Event) bool { return e.What == Opened && e.Kind == KindStream },
		"stream closed":  func(e Event) bool { return e.What == Closed && e.Kind == KindStream },
		"none":           func(e Event) bool { return false },
	} {
		t.Run(slowest, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				srv := &Server{Config: Config{Policy: Sliding(time.Hour), ErrorLog: discard}}
				w := serve(t, srv, slowReporter{memory(), srv, is})
				const sessions, streams = 3, 2
				for range sessions {
					sess, st := w.dial()
					st.Write([]byte("x"))
					for range streams - 1 {
						st, _ = sess.OpenStream(t.Context())
						st.Write([]byte("x"))
					}
					time.Sleep(sec / 2)
					sess.Close(0, "")
				}
				w.awaitAllClosed(KindSession, sessions)
				w.end()
				first := map[Kind]uint64{}
				state := map[uint64]EventKind{}
				for _, e := range w.events {
					if e.What != Opened && e.What != Closed {
						continue
					}
					if e.What == Opened && (first[e.Kind] == 0 || e.ID < first[e.Kind]) {
						first[e.Kind] = e.ID
					}
					if of, known := state[e.Session]; e.Kind == KindStream && (!known || of != Opened) {
						t.Errorf("%v, though its session is not open", e)
					}
					if e.Kind == KindSession {
						state[e.ID] = e.What
					}
				}
				for _, e := range w.closed(KindSession) {
					if n := e.ID - first[KindSession]; n >= sessions {
						t.Errorf("session %d of %d has number %d", n+1, sessions, e.ID)
					}
				}
			})
		})
	}
}

// A slowReporter is a transport whose server takes a second for some events.
type slowReporter struct {
	transport.Transport
	srv  *Server
	slow func(Event) bool
}

func (s slowReporter) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	record := s.srv.Events
	s.srv.Events = func(e Event) {
		if s.slow(e) {
			time.Sleep(sec)
		}
		record(e)
	}
	return s.Transport.Listen(ctx, addr)
}

// A logBook records what is logged.
type logBook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBook) want(t *testing.T, n int, words string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if got := strings.Count(l.b.String(), words); got != n {
		t.Errorf("%q was logged %d times, want %d:\n%s", words, got, n, l.b.String())
	}
}

func TestABlockedEventsIsLogged(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		book := new(logBook)
		cfg := &Config{
			Name: "door", Policy: Fixed(sec), Engine: new(Engine), ErrorLog: slog.New(slog.NewTextHandler(book, nil)),
			Events: func(Event) { time.Sleep(5 * sec) },
		}
		for range more {
			_, conn := net.Pipe()
			defer NewConn(conn, cfg).Close()
		}
		time.Sleep(4 * sec)
		book.want(t, 1, "Events has not returned")
		book.want(t, 1, "listener=door")
	})
}

// Panics of handlers and failures of accepting are logged if there is no Events; so is a
// panic after the end.
func TestFailuresAreLoggedWithoutEvents(t *testing.T) {
	read := func(c *Conn) { c.Read(make([]byte, 1)) }
	for name, tt := range map[string]struct {
		handler func(context.Context, *Conn)
		data    func(*Conn, []byte) error
		want    string
	}{
		"a panic": {handler: func(_ context.Context, c *Conn) { read(c); panic("ouch") }, want: "ouch"},
		"a panic after the end": {
			handler: func(_ context.Context, c *Conn) { read(c); c.CloseWith(Kicked, ""); panic("too late") }, want: "too late",
		},
		"a panic of Data": {data: func(*Conn, []byte) error { panic("ouch") }, want: "ouch"},
		"Data's error":    {data: func(*Conn, []byte) error { return errors.New("disk full") }, want: "disk full"},
	} {
		t.Run(name, func(t *testing.T) {
			bothKinds(t, func(t *testing.T, tr transport.Transport) {
				book := new(logBook)
				ctx, stop := context.WithCancel(t.Context())
				l, err := tr.Listen(ctx, "x")
				if err != nil {
					t.Fatal(err)
				}
				s := &Server{Config: Config{
					Policy: Sliding(time.Minute), Engine: new(Engine), ErrorLog: slog.New(slog.NewTextHandler(book, nil)),
				}, Handler: tt.handler, Data: tt.data}
				served := make(chan error, 1)
				go func() { served <- s.Serve(ctx, failsOnce{l, new(sync.Once)}) }()
				sess, err := tr.Dial(t.Context(), l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				st, err := sess.OpenStream(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				st.Write([]byte("x"))
				st.Read(make([]byte, 1))
				sess.Close(0, "")
				stop()
				if err := <-served; err != nil {
					t.Error(err)
				}
				book.want(t, 1, tt.want)
				book.want(t, 1, "no descriptors left")
			})
		})
	}
}

// A failsOnce is a listener whose first Accept fails.
type failsOnce struct {
	transport.Listener
	once *sync.Once
}

func (f failsOnce) Accept(ctx context.Context) (sess transport.Session, err error) {
	f.once.Do(func() { err = errors.New("no descriptors left") })
	if err != nil {
		return nil, err
	}
	return f.Listener.Accept(ctx)
}

// With one processor, others run between the reads from a peer that floods.
func TestRule14AFloodYieldsTheProcessor(t *testing.T) {
	for name, c := range map[string]codec.Codec{"raw": codec.Raw, "line": codec.Line, "frame": codec.Frame} {
		t.Run(name, func(t *testing.T) {
			here, there := net.Pipe()
			defer there.Close()
			data := "\xfeLN\x01" + hello
			if name != "frame" {
				data = ""
			}
			f := &flood{Conn: here, first: data, frame: map[string]string{"raw": "x", "line": "x\n", "frame": "\x02\x01x"}[name]}
			srv := &Server{Config: Config{Policy: Fixed(time.Hour), Engine: new(Engine)}, Codec: c}
			began := make(chan *Conn, 1)
			done := make(chan struct{})
			srv.Handler = func(_ context.Context, c *Conn) { began <- c; <-done }
			n := newPipes()
			n.pair = func() (net.Conn, net.Conn) { return there, f }
			ctx, stop := context.WithCancel(t.Context())
			l, _ := n.Listen(ctx, "")
			served := make(chan error, 1)
			go func() { served <- srv.Serve(ctx, l) }()
			if _, err := n.Dial(ctx, ""); err != nil {
				t.Fatal(err)
			}
			conn := <-began
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			var ran atomic.Bool
			go ran.Store(true)
			buf := make([]byte, 4<<10)
			for read := 0; read < 32<<10; {
				n, err := conn.Read(buf)
				if read += n; err != nil {
					t.Fatal(err)
				}
			}
			if !ran.Load() {
				t.Error("32 KiB were read at a stretch")
			}
			close(done)
			stop()
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
	}
}

// A flood is a connection from which frames can be read without end.
type flood struct {
	net.Conn
	first, frame string
	rest         string
}

func (f *flood) Read(p []byte) (n int, err error) {
	f.rest, f.first = f.first+f.rest, ""
	for n < len(p) {
		if f.rest == "" {
			f.rest = f.frame
		}
		m := copy(p[n:], f.rest)
		n, f.rest = n+m, f.rest[m:]
	}
	return n, nil
}

func (f *flood) Write(p []byte) (int, error) { return len(p), nil }
