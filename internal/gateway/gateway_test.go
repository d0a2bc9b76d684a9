package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/tcp"
	"github.com/livenet/livenet/transport/yamux"
)

// soon is how long anything may take that nothing is in the way of.
const soon = 30 * time.Second

var transports = map[string]transport.Transport{"tcp": tcp.Transport{}, "yamux": yamux.Transport{Inner: tcp.Transport{}}}

// A world is a gateway that serves, and what it said.
type world struct {
	t       *testing.T
	tr      transport.Transport
	addr    string
	mu      sync.Mutex
	changed []string
	ends    chan liveness.Event
	kind    liveness.Kind
}

// newWorld serves conf over a transport until the test ends.
func newWorld(t *testing.T, name string, conf Config) *world {
	return newWorldOf(t, name, conf, codec.Raw)
}

// newWorldOf is newWorld with another codec.
func newWorldOf(t *testing.T, name string, conf Config, code codec.Codec) *world {
	t.Helper()
	w := &world{t: t, tr: transports[name], ends: make(chan liveness.Event, 100)}
	if name == "yamux" {
		w.kind = liveness.KindStream
	}
	conf.Changed = func(a Address, cause string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.changed = append(w.changed, a.String()+" "+cause)
	}
	g := New(conf)
	l, err := w.tr.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = l.Addr().String()
	s := &liveness.Server{
		Config: liveness.Config{Policy: liveness.Sliding(time.Minute), Events: func(e liveness.Event) {
			if e.What == liveness.Closed && e.Kind == w.kind {
				w.ends <- e
			}
		}},
		Codec:   code,
		Handler: g.Handle,
		Drain:   time.Millisecond,
	}
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { g.Run(ctx) })
	all.Go(func() { s.Serve(ctx, l) })
	t.Cleanup(func() {
		stop()
		s.Close()
		all.Wait()
	})
	return w
}

// dial is a client's connection.
func (w *world) dial() *liveness.Conn {
	w.t.Helper()
	c, err := (&liveness.Client{Codec: codec.Raw}).Dial(w.t.Context(), w.tr, w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(soon))
	return c
}

func (w *world) end() liveness.Event {
	w.t.Helper()
	select {
	case e := <-w.ends:
		return e
	case <-time.After(soon):
		w.t.Fatal("it does not end")
		panic("")
	}
}

// service calls serve for each connection that brings something, until the test ends.
func service(t *testing.T, network, addr string, serve func(c net.Conn, first []byte)) Address {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(soon))
				first := make([]byte, 5)
				if n, err := io.ReadFull(c, first); err == nil { // otherwise somebody looks whether it is there
					serve(c, first[:n])
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return Address{network, l.Addr().String()}
}

func everyTransport(t *testing.T, test func(t *testing.T, name string)) {
	for name := range transports {
		t.Run(name, func(t *testing.T) { t.Parallel(); test(t, name) })
	}
}

const loopback = "127.0.0.1:0"

// What a client has written before it closes reaches the service whole, also if the service
// reads slowly and the client waits for no answer.
func TestRule12AClientThatClosesLosesNothing(t *testing.T) {
	const size = 4 << 20
	everyTransport(t, func(t *testing.T, name string) {
		got := make(chan string, 1)
		a := service(t, "tcp", loopback, func(c net.Conn, first []byte) {
			n, buf := int64(len(first)), make([]byte, 64<<10)
			var err error
			for err == nil {
				var k int
				k, err = c.Read(buf)
				n += int64(k)
				time.Sleep(time.Millisecond) // it is slow
			}
			got <- fmt.Sprint(n, " ", err)
		})
		w := newWorldOf(t, name, Config{Forward: []Address{a}}, codec.Frame)
		c, err := (&liveness.Client{}).Dial(t.Context(), w.tr, w.addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		c.Close()
		select {
		case got := <-got:
			if want := fmt.Sprint(size, " ", io.EOF); got != want {
				t.Errorf("the service got %s, want %s", got, want)
			}
		case <-time.After(soon):
			t.Error("the service's connection does not end")
		}
	})
}

// The client's end of data goes on to the service, and what that then sends comes back.
func TestClientEndsFirst(t *testing.T) {
	everyTransport(t, func(t *testing.T, name string) {
		a := service(t, "tcp", loopback, func(c net.Conn, first []byte) {
			rest, err := io.ReadAll(c)
			fmt.Fprintf(c, "%s%s %v", first, rest, err)
		})
		w := newWorld(t, name, Config{Forward: []Address{a}})
		c := w.dial()
		io.WriteString(c, "hello world")
		c.CloseWrite()
		if got, err := io.ReadAll(c); string(got) != "hello world <nil>" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if e := w.end(); e.End.Reason != liveness.PeerClosed && e.End.Reason != liveness.Done {
			t.Errorf("ended %v", e.End)
		}
	})
}

// So does the service's end, after which it still gets what the client sends.
func TestServiceEndsFirst(t *testing.T) {
	everyTransport(t, func(t *testing.T, name string) {
		rest := make(chan string, 1)
		a := service(t, "tcp", loopback, func(c net.Conn, first []byte) {
			c.(*net.TCPConn).CloseWrite()
			b, err := io.ReadAll(c)
			rest <- fmt.Sprintf("%s %v", b, err)
		})
		w := newWorld(t, name, Config{Forward: []Address{a}})
		c := w.dial()
		io.WriteString(c, "hello")
		if got, err := io.ReadAll(c); len(got) > 0 || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		io.WriteString(c, "more")
		c.CloseWrite()
		if got := <-rest; got != "more <nil>" {
			t.Errorf("the service gets %q", got)
		}
		w.end()
	})
}

// A service that breaks off is upstream-failed, and the client doesn't take what it has
// got for the whole.
func TestServiceResets(t *testing.T) {
	everyTransport(t, func(t *testing.T, name string) {
		a := service(t, "tcp", loopback, func(c net.Conn, first []byte) {
			c.Write(first)
			b := make([]byte, 1)
			io.ReadFull(c, b) // the client has got it
			c.(*net.TCPConn).SetLinger(0)
		})
		w := newWorld(t, name, Config{Forward: []Address{a}})
		c := w.dial()
		io.WriteString(c, "hello")
		io.ReadFull(c, make([]byte, 5))
		io.WriteString(c, "!")
		_, err := c.Read(make([]byte, 1))
		end, ok := errors.AsType[*liveness.Error](err)
		want := map[string]liveness.Reason{"tcp": liveness.PeerReset, "yamux": liveness.UpstreamFailed}[name]
		if !ok || end.Reason != want || end.Initiator != liveness.Peer {
			t.Errorf("the client reads %v, want %v", err, want)
		}
		if e := w.end(); e.End.Reason != liveness.UpstreamFailed || e.End.Text != "reset" || e.End.Initiator != liveness.Local {
			t.Errorf("ended %v", e.End)
		}
	})
}

// A client that breaks off leaves no half request that looks whole.
func TestClientResets(t *testing.T) {
	everyTransport(t, func(t *testing.T, name string) {
		read := make(chan error, 1)
		a := service(t, "tcp", loopback, func(c net.Conn, first []byte) {
			c.Write(first)
			_, err := io.ReadAll(c)
			read <- err
		})
		w := newWorld(t, name, Config{Forward: []Address{a}})
		c := w.dial()
		io.WriteString(c, "hello")
		io.ReadFull(c, make([]byte, 5))
		c.NetConn().(transport.Stream).Reset(1)
		if err := <-read; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the service reads %v", err)
		}
		w.end()
	})
}

// One that can't be dialled is no matter where there is another; it is told once.
func TestAnotherUpstream(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", loopback)
	if err != nil {
		t.Fatal(err)
	}
	dead := Address{"tcp", l.Addr().String()}
	l.Close()
	none := Address{"unix", filepath.Join(t.TempDir(), "none")}
	dir, err := os.MkdirTemp("", "") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	echo := func(c net.Conn, first []byte) { c.Write(first); io.Copy(c, c) }
	good := service(t, "unix", dir+"/s", echo)
	w := newWorld(t, "tcp", Config{Forward: []Address{dead, none, good}, Health: 10 * time.Millisecond})
	for range 5 {
		c := w.dial()
		io.WriteString(c, "hello")
		c.CloseWrite()
		if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
			t.Fatalf("got %q, %v", got, err)
		}
		w.end()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	told := make(map[string]int)
	for _, s := range w.changed {
		told[s]++
	}
	if len(told) != 2 || told[dead.String()+" refused"] != 1 || told[none.String()+" no such socket"] != 1 {
		t.Errorf("told: %v", told)
	}
}

// Health brings an upstream back without a client.
func TestHealth(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 15_000+rand.IntN(17_000)))
	if err != nil {
		t.Fatal(err)
	}
	a := Address{"tcp", l.Addr().String()}
	l.Close()
	back := make(chan string, 2)
	g := New(Config{Forward: []Address{a}, Health: 5 * time.Millisecond, Changed: func(_ Address, cause string) { back <- cause }})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); g.Run(ctx) }()
	if got := <-back; got != "refused" {
		t.Errorf("got %q", got)
	}
	if l, err = net.Listen("tcp", a.Addr); err != nil { // the port is below those that others get
		t.Fatal(err)
	}
	defer l.Close()
	if got := <-back; got != "" {
		t.Errorf("got %q", got)
	}
	stop()
	<-ended
	g.mu.Lock()
	defer g.mu.Unlock()
	if u := g.upstreams.list[0]; u.down() || u.active != 0 || u.dialing != 0 {
		t.Errorf("%+v", *u)
	}
}

func TestCause(t *testing.T) {
	for want, err := range map[string]error{
		"refused":      &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)},
		"timed out":    &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded},
		"reset":        &liveness.Error{Reason: liveness.PeerReset, Err: &transport.CloseError{Origin: transport.Peer, Reset: true}},
		"unreachable":  &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)},
		"unknown host": &net.OpError{Op: "dial", Err: &net.DNSError{Name: "db", IsNotFound: true}},
		"silent":       &liveness.Error{Reason: liveness.Silent},
		"failed":       errors.New("nobody knows"),
	} {
		if got := cause(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
	if got := cause(&liveness.Error{Reason: liveness.TransportLost, Err: syscall.ETIMEDOUT}); got != "timed out" {
		t.Errorf("the kernel's own end is %q", got)
	}
}
