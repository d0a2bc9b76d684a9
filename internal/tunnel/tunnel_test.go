package tunnel

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/internal/devtls"
	"github.com/livenet/livenet/internal/gateway"
	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/quic"
	"github.com/livenet/livenet/transport/tcp"
	"github.com/livenet/livenet/transport/yamux"
)

// soon is the time limit for what should take no time.
const soon = 30 * time.Second

// ends are the transports of a server and its client, on this machine.
type ends struct{ server, client transport.Transport }

var network = sync.OnceValue(func() map[string]ends {
	identity, roots, err := devtls.Ephemeral()
	if err != nil {
		panic(err)
	}
	server, client := &tls.Config{Certificates: []tls.Certificate{identity.Certificate}}, &tls.Config{RootCAs: roots}
	return map[string]ends{
		"tcp":   {tcp.Transport{}, tcp.Transport{}},
		"tls":   {tcp.Transport{TLS: server}, tcp.Transport{TLS: client}},
		"yamux": {yamux.Transport{Inner: tcp.Transport{}}, yamux.Transport{Inner: tcp.Transport{}}},
		"quic":  {quic.Transport{TLS: server}, quic.Transport{TLS: client}},
	}
})

func multiplexed(name string) bool { return name == "yamux" || name == "quic" }

// everyTransport runs test over each transport, at once.
func everyTransport(t *testing.T, test func(t *testing.T, name string)) {
	for name := range network() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, name)
		})
	}
}

// A served is a running server.
type served struct {
	*Server
	addr   string
	events chan liveness.Event // of sessions that were opened, and of all that have ended
	stop   func()              // waits for its end
}

// serve serves s until the test ends, at addr, or at a free port if that is empty.
func serve(t *testing.T, name, addr string, s *Server) *served {
	t.Helper()
	return serveUnder(t, name, addr, s, liveness.Sliding(soon))
}

// serveUnder is serve with a policy.
func serveUnder(t *testing.T, name, addr string, s *Server, policy liveness.Policy) *served {
	t.Helper()
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := network()[name].server.Listen(t.Context(), addr)
	for until := time.Now().Add(soon); errors.Is(err, syscall.EADDRINUSE) && time.Now().Before(until); {
		runtime.Gosched() // the previous socket is being closed
		l, err = network()[name].server.Listen(t.Context(), addr)
	}
	if err != nil {
		t.Fatal(err)
	}
	w := &served{Server: s, addr: l.Addr().String(), events: make(chan liveness.Event, 1<<14)}
	srv := &liveness.Server{
		Config: liveness.Config{Policy: policy, Events: func(e liveness.Event) {
			if e.What == liveness.Closed || e.What == liveness.Opened && e.Kind == liveness.KindSession {
				w.events <- e
			}
		}},
		Codec:   codec.Raw,
		Handler: s.Handle,
		Drain:   time.Millisecond,
	}
	if multiplexed(name) {
		srv.Codec = codec.Auto
	}
	if s.Opening == 0 {
		s.Opening = soon
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		srv.Serve(ctx, l)
	}()
	w.stop = func() {
		cancel()
		srv.Close()
		<-ended
	}
	t.Cleanup(w.stop)
	return w
}

// closed waits for the end of a stream, or of a session, for a reason.
func (w *served) closed(t *testing.T, kind liveness.Kind, reason liveness.Reason) *liveness.Error {
	t.Helper()
	timeout := time.After(soon)
	for {
		select {
		case e := <-w.events:
			if e.What == liveness.Closed && e.Kind == kind && e.End.Reason == reason {
				return e.End
			}
		case <-timeout:
			t.Fatalf("no %v has ended %v", kind, reason)
		}
	}
}

// echo returns a gateway to a service that sends a greeting, and then what it receives.
func echo(t *testing.T, greeting string) *gateway.Gateway {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
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
				c.SetDeadline(time.Now().Add(2 * soon))
				io.WriteString(c, greeting)
				io.Copy(c, c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	a, err := gateway.ParseAddress(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return gateway.New(gateway.Config{Forward: []gateway.Address{a}})
}

// A running client, and its callbacks' arguments.
type running struct {
	*Client
	connected chan *liveness.Session
	failed    chan error
	retrying  chan liveness.Event
	ended     chan error
	stop      func()
}

// run runs c against a server at addr until the test ends.
func run(t *testing.T, name, addr string, c *Client) *running {
	t.Helper()
	r := &running{Client: c, connected: make(chan *liveness.Session, 1<<14), failed: make(chan error, 1<<14), retrying: make(chan liveness.Event, 1<<14), ended: make(chan error, 1)}
	c.Transport, c.Multiplexed, c.Addr = network()[name].client, multiplexed(name), addr
	if c.Wait == 0 {
		c.Wait = soon
	}
	c.Dialer = &liveness.Client{MinBackoff: time.Millisecond, MaxBackoff: 100 * time.Millisecond, Events: func(e liveness.Event) {
		if e.What == liveness.Retrying {
			r.retrying <- e
		}
	}}
	if !c.Multiplexed {
		c.Dialer.Codec = codec.Raw
	}
	c.Connected = func(s *liveness.Session) { r.connected <- s }
	c.Failed = func(_ string, _ net.Addr, err error) { r.failed <- err }
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		r.ended <- c.Run(ctx)
	}()
	r.stop = func() {
		cancel()
		<-over
	}
	t.Cleanup(r.stop)
	return r
}

// listen accepts connections to a service until the test ends.
func (r *running) listen(t *testing.T, service string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.Serve(ctx, l, service)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return l.Addr().String()
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(soon))
	return c.(*net.TCPConn)
}

// ask sends words, closes its sending direction, and returns the whole answer.
func ask(t *testing.T, addr, words string) (string, error) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err // a reset may come before dialling is done
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(soon))
	io.WriteString(c, words)
	c.(*net.TCPConn).CloseWrite()
	b, err := io.ReadAll(c)
	return string(b), err
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(soon):
		t.Fatal("it does not come")
		panic("")
	}
}

// Connections reach the named service, or the one without a name, whichever end speaks first.
// An unknown name ends them.
func TestServicesByName(t *testing.T) {
	t.Parallel()
	everyTransport(t, func(t *testing.T, name string) {
		forward := map[string]*gateway.Gateway{"": echo(t, ""), "red": echo(t, "red "), "blue": echo(t, "blue ")}
		s := serve(t, name, "", &Server{Forward: forward})
		r := run(t, name, s.addr, new(Client))
		for service, want := range map[string]string{"": "hello", "red": "red hello", "blue": "blue hello"} {
			addr := r.listen(t, service)
			if got, err := ask(t, addr, "hello"); got != want || err != nil {
				t.Errorf("%q: got %q, %v", service, got, err)
			}
			if service == "" {
				continue
			}
			c := dial(t, addr) // which waits to be greeted
			if got, err := bufio.NewReader(c).ReadString(' '); got != service+" " || err != nil {
				t.Errorf("%q: got %q, %v", service, got, err)
			}
		}
		if got, err := ask(t, r.listen(t, "green"), "hello"); err == nil {
			t.Errorf("it answers %q", got)
		}
		err := receive(t, r.failed)
		if multiplexed(name) && !errors.Is(err, liveness.NoTunnel) || !errors.Is(err, liveness.NoTunnel) && !errors.Is(err, liveness.PeerReset) {
			t.Errorf("it failed with %v", err)
		}
		kind := liveness.KindSession
		if multiplexed(name) {
			kind = liveness.KindStream
		}
		s.closed(t, kind, liveness.NoTunnel)
	})
}

// Ten megabytes go there and back on many connections at once.
func TestMuch(t *testing.T) {
	t.Parallel()
	everyTransport(t, func(t *testing.T, name string) {
		s := serve(t, name, "", &Server{Forward: map[string]*gateway.Gateway{"": echo(t, "")}})
		addr := run(t, name, s.addr, new(Client)).listen(t, "")
		want := strings.Repeat("0123456789abcdef", 1<<16)
		var all sync.WaitGroup
		for range 10 {
			c := dial(t, addr)
			all.Go(func() {
				io.WriteString(c, want)
				c.CloseWrite()
			})
			all.Go(func() {
				if got, err := io.ReadAll(c); string(got) != want || err != nil {
					t.Errorf("%d bytes came back, %v", len(got), err)
				}
			})
		}
		all.Wait()
	})
}

// If the client of a service resets its connection, the service sees a reset, and no EOF.
func TestResetsAreCarried(t *testing.T) {
	t.Parallel()
	everyTransport(t, func(t *testing.T, name string) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		a, _ := gateway.ParseAddress(l.Addr().String())
		s := serve(t, name, "", &Server{Forward: map[string]*gateway.Gateway{"": gateway.New(gateway.Config{Forward: []gateway.Address{a}})}})
		addr := run(t, name, s.addr, new(Client)).listen(t, "")
		c := dial(t, addr)
		io.WriteString(c, "hello")
		service, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer service.Close()
		service.SetDeadline(time.Now().Add(soon))
		if _, err := io.ReadFull(service, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		c.SetLinger(0)
		c.Close()
		if b, err := io.ReadAll(service); err == nil {
			t.Errorf("the service reads a whole %q", b)
		}
	})
}

// A stream without a header goes to the service as it is; after a second, also one on which
// the client waits for the service to speak first.
func TestPlainStreams(t *testing.T) {
	t.Parallel()
	everyTransport(t, func(t *testing.T, name string) {
		s := serve(t, name, "", &Server{Forward: map[string]*gateway.Gateway{"": echo(t, "who? "), "x": echo(t, "x ")}})
		for _, words := range []string{"\xfe", "\xfeL", "\xfeLX", "hello", ""} {
			if words == "" && name == "quic" {
				continue // the server does not know of the stream yet
			}
			c, err := (&liveness.Client{Codec: codec.Raw}).Dial(t.Context(), network()[name].client, s.addr)
			if err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(soon))
			io.WriteString(c, words)
			if words != "" {
				c.CloseWrite()
			}
			got := make([]byte, len("who? ")+len(words))
			if _, err := io.ReadFull(c, got); err != nil || string(got) != "who? "+words {
				t.Errorf("%q: got %q, %v", words, got, err)
			}
			c.Close()
		}
	})
}

// Frames without a registration go to the service, too.
func TestPlainFrames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"yamux", "quic"} {
		s := serve(t, name, "", &Server{Forward: map[string]*gateway.Gateway{"": echo(t, "")}})
		c, err := new(liveness.Client).Dial(t.Context(), network()[name].client, s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(soon))
		io.WriteString(c, "hello")
		c.CloseWrite()
		if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

// Streams that violate the protocol or stay unused end with a reason, and disturb no other
// stream. A header may arrive a byte at a time.
func TestBadStreams(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"yamux", "quic"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, name, "", &Server{Forward: map[string]*gateway.Gateway{"": echo(t, ""), "red": echo(t, "red ")}, Opening: 2 * time.Second})
			r := run(t, name, s.addr, new(Client))
			addr := r.listen(t, "red")
			sess := receive(t, r.connected)
			for words, want := range map[string]liveness.Reason{
				"\xfeLT\x02": liveness.ProtocolError,
				"\xfeLT\x01\x80\x80\x04" + strings.Repeat("n", 64<<10): liveness.TooLarge,
				"\xfeLT\x01\x81\x00": liveness.ProtocolError,
				"\xfe":               liveness.NoHello,
				"\xfeLT\x01\x05re":   liveness.NoHello,
			} {
				c, err := sess.OpenStream(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				c.SetDeadline(time.Now().Add(soon))
				io.WriteString(c, words)
				if _, err := io.ReadAll(c); !errors.Is(err, want) {
					t.Errorf("%.10q: got %v, want %v", words, err, want)
				}
				c.Close()
			}
			c, err := sess.OpenStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(soon))
			for _, b := range appendHeader(nil, []byte("red")) {
				c.Write([]byte{b})
			}
			if got, err := bufio.NewReader(c).ReadString(' '); got != "red " || err != nil {
				t.Errorf("a byte at a time: got %q, %v", got, err)
			}
			if got, err := ask(t, addr, "hello"); got != "red hello" || err != nil {
				t.Errorf("the others: got %q, %v", got, err)
			}
			if e := sess.End(); e != nil {
				t.Errorf("the session has ended: %v", e)
			}
		})
	}
}

// An invalid registration ends the stream with a reason.
func TestBadRegistrations(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"yamux", "quic"} {
		s := serve(t, name, "", &Server{Forward: map[string]*gateway.Gateway{"": echo(t, "")}})
		for body, want := range map[string]liveness.Reason{"{": liveness.ProtocolError, strings.Repeat(" ", maxRegister+1): liveness.TooLarge} {
			c, err := new(liveness.Client).Dial(t.Context(), network()[name].client, s.addr)
			if err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(soon))
			c.Write(appendHeader(nil, []byte(body)))
			if _, err := io.ReadAll(c); !errors.Is(err, want) {
				t.Errorf("%s: %.10q: got %v", name, body, err)
			}
			c.Close()
		}
	}
}

// A client does not retry with a server that has no tunnels.
func TestNoTunnelServer(t *testing.T) {
	t.Parallel()
	l, err := network()["yamux"].server.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &liveness.Server{Config: liveness.Config{Policy: liveness.Sliding(soon)}, Codec: codec.Auto, Drain: time.Millisecond,
		Handler: func(_ context.Context, c *liveness.Conn) { io.Copy(c, c) }}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); srv.Serve(ctx, l) }()
	r := run(t, "yamux", l.Addr().String(), new(Client))
	if err := receive(t, r.ended); !errors.Is(err, liveness.ProtocolError) || !strings.Contains(err.Error(), "no tunnels") {
		t.Errorf("it ended with %v", err)
	}
	stop()
	<-ended
}

// A server restarts: open connections get an error, and new ones wait for the next session.
func TestReconnects(t *testing.T) {
	t.Parallel()
	everyTransport(t, func(t *testing.T, name string) {
		service := echo(t, "")
		s := serve(t, name, "", &Server{Forward: map[string]*gateway.Gateway{"": service}})
		r := run(t, name, s.addr, new(Client))
		addr := r.listen(t, "")
		for range 3 {
			if multiplexed(name) {
				receive(t, r.connected)
			}
			c := dial(t, addr)
			io.WriteString(c, "hello")
			if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			s.stop()
			if _, err := io.ReadAll(c); err == nil {
				t.Error("the end looks whole")
			}
			next := dial(t, addr)
			io.WriteString(next, "wait")
			next.CloseWrite()
			s = serve(t, name, s.addr, &Server{Forward: map[string]*gateway.Gateway{"": service}})
			if got, err := io.ReadAll(next); string(got) != "wait" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		}
	})
}

// A connection waits for a session, and then ends.
func TestNoSession(t *testing.T) {
	t.Parallel()
	everyTransport(t, func(t *testing.T, name string) {
		nobody, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		nobody.Close()
		r := run(t, name, nobody.Addr().String(), &Client{Wait: 100 * time.Millisecond})
		began := time.Now()
		if got, err := ask(t, r.listen(t, ""), "hello"); err == nil {
			t.Errorf("it answers %q", got)
		}
		if waited := time.Since(began); waited < 100*time.Millisecond {
			t.Errorf("it waited for %v", waited)
		}
		if err := receive(t, r.failed); multiplexed(name) && err != ErrNoSession {
			t.Errorf("it failed with %v", err)
		}
	})
}

// When the server drains, open connections finish, and the client then closes the session.
func TestDrains(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"yamux", "quic"} {
		service := echo(t, "")
		l, err := network()[name].server.Listen(t.Context(), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := &Server{Forward: map[string]*gateway.Gateway{"": service}, Opening: soon}
		srv := &liveness.Server{Config: liveness.Config{Policy: liveness.Sliding(soon)}, Codec: codec.Auto, Handler: s.Handle, Drain: soon}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); srv.Serve(ctx, l) }()
		r := run(t, name, l.Addr().String(), new(Client))
		c := dial(t, r.listen(t, ""))
		io.WriteString(c, "hello")
		io.ReadFull(c, make([]byte, 5))
		sess := receive(t, r.connected)
		stop()
		io.WriteString(c, "after")
		got := make([]byte, 5)
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "after" {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		c.Close()
		receive(t, sess.Done())
		if e := sess.End(); e.Reason != liveness.Draining {
			t.Errorf("%s: the session ended %v", name, e)
		}
		receive(t, ended)
		r.stop()
	}
}
