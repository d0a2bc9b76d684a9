package liveness_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

// A server lists the open sessions, finds one by its ID, and ends it; its peer gets the
// reason.
func TestSessions(t *testing.T) {
	bothKinds(t, func(t *testing.T, tr transport.Transport) {
		w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute)}, Codec: codec.Frame, Handler: echo}, tr)
		a, b := w.client(Client{}), w.client(Client{})
		a.Write([]byte("x"))
		io.ReadFull(a, make([]byte, 1))
		b.Write([]byte("yy"))
		io.ReadFull(b, make([]byte, 2))
		synctest.Wait()
		var in []int64
		for s := range w.srv.Sessions() {
			in = append(in, s.Stats().BytesIn)
			if s.Policy() != "sliding 1m0s" || s.RemoteAddr() == nil || s.Stats().Deadline.IsZero() {
				t.Errorf("session %d: %q, %v, %+v", s.ID(), s.Policy(), s.RemoteAddr(), s.Stats())
			}
		}
		if len(in) != 2 || in[0] == in[1] {
			t.Fatalf("read %v", in)
		}
		i := slices.Index(in, slices.Max(in))
		all := slices.Collect(w.srv.Sessions())
		if w.srv.Session(all[i].ID()) != all[i] {
			t.Error("it isn't found by its number")
		}
		all[i].CloseWith(Kicked, "enough")
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, Kicked) || b.End().Text != "enough" {
			t.Errorf("its peer reads %v", err)
		}
		synctest.Wait()
		if w.srv.Session(all[i].ID()) != nil || all[i].End() == nil || len(slices.Collect(w.srv.Sessions())) != 1 {
			t.Error("it is still there")
		}
		a.Close()
		w.end()
	})
}

// A session carries more streams, in both directions if the application accepts them, and
// they end with it.
func TestSessionStreams(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		opened := make(chan error, 1)
		handler := func(ctx context.Context, c *Conn) {
			line, _ := bufio.NewReader(c).ReadString('\n')
			if line == "call me\n" {
				back, err := c.Session().OpenStream(ctx)
				if err == nil {
					_, err = back.Write([]byte("hello"))
				}
				opened <- err
			}
			io.Copy(io.Discard, c)
		}
		w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute)}, Codec: codec.Auto, Handler: handler}, memory())
		c := w.client(Client{})
		extra, err := c.Session().OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		extra.Write([]byte("call me\n"))
		if err := <-opened; err != nil {
			t.Fatal(err)
		}
		back, err := c.Session().AcceptStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 5)
		if _, err := io.ReadFull(back, buf); string(buf) != "hello" {
			t.Errorf("read %q, %v", buf, err)
		}
		c.Session().CloseWith(Kicked, "")
		for _, s := range []*Conn{extra, back} {
			if _, err := s.Read(buf); !errors.Is(err, Kicked) {
				t.Errorf("a stream of the session reads %v", err)
			}
		}
		c.Close()
		w.end()
	})
}

// The calls of a session's streams return when it ends, though its last words may be
// waited for.
func TestRule12StreamsEndWithTheirSessionAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := serve(t, &Server{
			Config: Config{Policy: Sliding(time.Hour)}, Codec: codec.Raw,
			Handler: func(ctx context.Context, _ *Conn) { <-ctx.Done() },
		}, memory())
		c := w.client(Client{Codec: codec.Raw})
		c.Write([]byte("x"))
		extra, err := c.Session().OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		time.AfterFunc(sec, func() { c.Close() })
		if _, err := extra.Read(make([]byte, 1)); !errors.Is(err, Done) || time.Since(began) != sec {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		<-c.Done()
		c.Close()
		w.end()
	})
}

// A slowCloser is a connection whose Close takes a while, like that of TLS.
type slowCloser struct{ net.Conn }

func (c slowCloser) Close() error {
	time.Sleep(5 * sec)
	return c.Conn.Close()
}

// Who ends sessions waits for none of them.
func TestRule14EndingASessionDoesNotWait(t *testing.T) {
	for _, r := range []Reason{Done, Kicked, Draining, Silent} {
		inBubble(t, func(t *testing.T) {
			a, b := net.Pipe()
			defer b.Close()
			c := NewConn(slowCloser{a}, &Config{Policy: Fixed(time.Hour), Engine: new(Engine)})
			began := time.Now()
			c.Session().CloseWith(r, "")
			if d := time.Since(began); d > 0 {
				t.Errorf("%v took %v", r, d)
			}
			time.Sleep(10 * sec)
		})
	}
}

// A Listener lists its connections, and Shutdown ends those that don't end in time.
func TestListenerSessions(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := NewListener(inner, &Config{Policy: Sliding(time.Minute), Engine: new(Engine)})
	d, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	all := slices.Collect(l.Sessions())
	if len(all) != 1 || all[0] != c.(*Conn).Session() || all[0].RemoteAddr().String() != d.LocalAddr().String() || l.Counts().Live != 1 {
		t.Errorf("listed: %v; %+v", all, l.Counts())
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(30*sec, cancel)
	go func() { // a handler that is told
		<-c.(*Conn).Draining()
		if c.(*Conn).End() != nil {
			t.Error("it was told at the end only")
		}
		cancel()
	}()
	if err := l.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, Draining) {
		t.Errorf("read: %v", err)
	}
	if err := l.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown with nothing left: %v", err)
	}
}

// aListener accepts one connection, when it is let.
type aListener struct {
	net.Conn
	let chan struct{}
}

func (l aListener) Accept() (net.Conn, error) { <-l.let; return l.Conn, nil }
func (l aListener) Addr() net.Addr            { return l.LocalAddr() }
func (l aListener) Close() error              { return nil }

// A connection that is accepted after all, when Shutdown finds none left, does not stay.
func TestListenerShutdownDuringAccept(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close()
		inner := aListener{a, make(chan struct{})}
		l := NewListener(inner, &Config{Policy: Sliding(time.Minute), Engine: new(Engine)})
		accepted := make(chan error)
		go func() {
			_, err := l.Accept()
			accepted <- err
		}()
		if err := l.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		close(inner.let)
		if err := <-accepted; !errors.Is(err, net.ErrClosed) || l.Counts().Live != 0 {
			t.Errorf("accepted: %v; %+v", err, l.Counts())
		}
		time.Sleep(time.Hour)
	})
}

// Shutdown waits for what is under way, but not longer than its context.
func TestShutdown(t *testing.T) {
	for name, patient := range map[string]bool{"waits": true, "is bounded": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := serve(t, &Server{Config: Config{Policy: Sliding(time.Hour)}, Codec: codec.Frame, Handler: echo}, memory())
				c := w.client(Client{})
				began := time.Now()
				c.Write([]byte("x"))
				go io.Copy(io.Discard, c)
				go func() { // a client that takes a minute to finish
					<-c.Draining()
					time.Sleep(time.Minute)
					c.Close()
				}()
				limit := 2 * time.Minute
				if !patient {
					limit = 10 * sec
				}
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				err := w.srv.Shutdown(ctx)
				d := time.Since(began)
				if patient && (err != nil || d < time.Minute || d > time.Minute+sec) || !patient && (err == nil || d < 10*sec || d > 12*sec) {
					t.Errorf("%v after %v", err, d)
				}
				w.end()
				time.Sleep(time.Minute)
			})
		})
	}
}

// Reconnect dials again after an end that isn't final, as late as the server asked for,
// and stops at one that is.
func TestReconnect(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		tr := memory()
		w := serve(t, &Server{
			Config: Config{Policy: Sliding(time.Minute)}, Codec: codec.Frame, RetryAfter: 20 * sec,
			Handler: func(_ context.Context, c *Conn) {
				line, _ := bufio.NewReader(c).ReadString('\n')
				switch line {
				case "kick\n":
					c.CloseWith(Kicked, "")
				case "supersede\n":
					c.CloseWith(Superseded, "")
				}
			},
		}, tr)
		words := []string{"kick\n", "kick\n", "supersede\n"}
		retries := 0
		client := Client{Events: func(e Event) {
			if e.What == Retrying {
				retries++
				if !errors.Is(e.Err, Kicked) || e.Wait > 30*sec {
					t.Errorf("retrying in %v after %v", e.Wait, e.Err)
				}
			}
		}}
		err := client.Reconnect(t.Context(), tr, w.addr, nil, func(_ context.Context, c *Conn) error {
			c.Write([]byte(words[0]))
			words = words[1:]
			_, err := io.Copy(io.Discard, c)
			return err
		})
		if !errors.Is(err, Superseded) || len(words) != 0 || retries != 2 {
			t.Errorf("%v after %d retries, with %q left", err, retries, words)
		}
		if err := client.Reconnect(t.Context(), tr, w.addr, nil, func(context.Context, *Conn) error { return io.ErrNoProgress }); err != io.ErrNoProgress {
			t.Errorf("an error of use: %v", err)
		}
		w.end()
	})
}

// It returns its context's error when that ends, whatever use makes of it.
func TestReconnectEndsWithItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := serve(t, &Server{Config: Config{Policy: Sliding(time.Hour)}, Codec: codec.Frame}, memory())
		ctx, cancel := context.WithTimeout(t.Context(), sec)
		defer cancel()
		client := Client{Engine: new(Engine)}
		err := client.Reconnect(ctx, w.net, w.addr, nil, func(_ context.Context, c *Conn) error {
			_, err := c.Read(make([]byte, 1))
			return err
		})
		if err != context.DeadlineExceeded {
			t.Error(err)
		}
		w.end()
	})
}

// A server may ask for any wait.
func TestReconnectWaitsForLong(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := serve(t, &Server{Config: Config{Policy: Sliding(time.Hour)}, Codec: codec.Frame, RetryAfter: Never}, memory())
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		client := Client{Engine: new(Engine), Events: func(e Event) {
			if e.What == Retrying && e.Wait < time.Hour {
				t.Errorf("it waits for %v", e.Wait)
			}
		}}
		time.AfterFunc(sec, w.stop)
		client.Reconnect(ctx, w.net, w.addr, nil, func(_ context.Context, c *Conn) error {
			io.WriteString(c, "x")
			_, err := io.Copy(io.Discard, c)
			return err
		})
		w.end()
	})
}

// The addresses may be read while the Opened event is being made.
func TestAddressesOfASessionConcurrently(t *testing.T) {
	a, _ := net.Pipe()
	c := NewConn(a, &Config{Policy: Sliding(sec), Engine: new(Engine), Events: func(Event) {}})
	defer c.Close()
	if got := c.Session().RemoteAddr(); got != a.RemoteAddr() {
		t.Error(got)
	}
}

// A dialled session that no one reads from ends with its transport's.
func TestASessionEndsThoughNobodyReads(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"quic", "yamux", "yamux-tls"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute)}, Codec: codec.Frame}, networks(t)[name])
			c := w.client(Client{})
			c.Write([]byte("x"))
			io.ReadFull(c, make([]byte, 1))
			for s := range w.srv.Sessions() {
				s.CloseWith(Kicked, "")
			}
			<-c.Session().Done()
			if e := c.End(); e.Reason != Kicked || e.Initiator != Peer {
				t.Errorf("ended %v", e)
			}
			w.end()
		})
	}
}

func TestConnOf(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	c := NewConn(a, &Config{Policy: Sliding(time.Minute), Engine: new(Engine)})
	defer c.Close()
	if got := ConnOf(tls.Server(c, &tls.Config{})); got != c {
		t.Errorf("beneath TLS: %v", got)
	}
	if got := ConnOf(b); got != nil {
		t.Errorf("of another connection: %v", got)
	}
}
