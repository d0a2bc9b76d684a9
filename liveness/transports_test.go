package liveness_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/quic"
	"github.com/livenet/livenet/transport/tcp"
	"github.com/livenet/livenet/transport/transporttest"
	"github.com/livenet/livenet/transport/yamux"
)

// A network is a transport as its two ends configure it.
type network struct {
	server, client transport.Transport
	codes          bool // a session's end carries its code
	byData         bool // servers without a handler get echoData
}

func (n network) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	return n.server.Listen(ctx, addr)
}

func (n network) Dial(ctx context.Context, addr string) (transport.Session, error) {
	return n.client.Dial(ctx, addr)
}

func networks(t *testing.T) map[string]network {
	server, client := transporttest.Certificates(t)
	plain, tls := tcp.Transport{}, network{server: tcp.Transport{TLS: server}, client: tcp.Transport{TLS: client}}
	return map[string]network{
		"tcp":        {server: plain, client: plain},
		"tls":        tls,
		"parked":     {server: tcp.Transport{Parked: true}, client: plain},
		"parked-tls": {server: tcp.Transport{Parked: true, TLS: server}, client: tls.client},
		"quic":       {server: quic.Transport{TLS: server}, client: quic.Transport{TLS: client}, codes: true},
		"yamux":      {server: yamux.Transport{Inner: plain}, client: yamux.Transport{Inner: plain}, codes: true},
		"yamux-tls":  {server: yamux.Transport{Inner: tls.server}, client: yamux.Transport{Inner: tls.client}, codes: true},
	}
}

// everyNetwork runs f over all transports at once. A test that mostly waits calls
// t.Parallel before.
func everyNetwork(t *testing.T, f func(t *testing.T, n network)) {
	for name, n := range networks(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, n)
		})
	}
}

// eitherHandler is everyNetwork with a Handler and with Data, for tests of what a peer
// sees.
func eitherHandler(t *testing.T, f func(t *testing.T, n network)) {
	everyNetwork(t, func(t *testing.T, n network) {
		for kind, byData := range map[string]bool{"Handler": false, "Data": true} {
			t.Run(kind, func(t *testing.T) {
				t.Parallel()
				n := n
				n.byData = byData
				f(t, n)
			})
		}
	})
}

// The same policies lead to the same ends on every transport.
func TestRule5EveryTransportEndsTheSameWay(t *testing.T) {
	t.Parallel()
	policies := []struct {
		policy Policy
		reason Reason
	}{{Fixed(400 * ms), FixedDeadline}, {Sliding(300 * ms), Silent}}
	eitherHandler(t, func(t *testing.T, n network) {
		for _, p := range policies {
			t.Run(p.reason.String(), func(t *testing.T) {
				t.Parallel()
				w := serve(t, &Server{Config: Config{Policy: p.policy}, Codec: codec.Auto}, n)
				defer w.end()
				start := time.Now()
				c := w.client(Client{NoBeat: true})
				var heard time.Time
				for range 3 {
					heard = time.Now()
					say(t, c, "Hello I'm MyHeartbeat Client.")
				}
				_, err := c.Read(make([]byte, 1))
				took := time.Since(start)
				var e *Error
				if !errors.As(err, &e) || e.Reason != p.reason || e.Initiator != Peer {
					t.Errorf("the client sees %v", err)
				}
				if p.reason == FixedDeadline && took < 400*ms || p.reason == Silent && time.Since(heard) < 300*ms {
					t.Errorf("ended early, after %v", took)
				}
				c.Close()
				w.awaitClosed(KindSession)
				if e := w.one(KindSession); e.End.Reason != p.reason || e.End.Initiator != Local {
					t.Errorf("the server ended: %v", e.End)
				}
			})
		}
	})
}

// A peer without a codec gets the reason as far as its transport can carry it.
func TestRule6PeersWithoutACodec(t *testing.T) {
	t.Parallel()
	eitherHandler(t, func(t *testing.T, n network) {
		w := serve(t, &Server{Config: Config{Policy: Fixed(sec)}}, n)
		defer w.end()
		sess, st := w.dial()
		defer sess.Close(0, "")
		say(t, st, "hello")
		if _, err := st.Read(make([]byte, 1)); err == nil {
			t.Error("read something")
		}
		if !n.codes {
			return
		}
		<-sess.Context().Done()
		var e *transport.CloseError
		if !errors.As(context.Cause(sess.Context()), &e) || e.Origin != transport.Peer || e.Code != FixedDeadline.Code() {
			t.Errorf("the session ended %v", context.Cause(sess.Context()))
		}
	})
}

// Beats keep an idle connection open on every transport, both ends agree on its end, and
// nothing is left behind (see TestMain).
func TestBeatsKeepEveryTransportAlive(t *testing.T) {
	t.Parallel()
	const timeout = 600 * ms
	eitherHandler(t, func(t *testing.T, n network) {
		// Three times in a timeout the client beats: held up for no longer
		// than that, it is in time.
		undisturbed(t, timeout/3, func(p *pulse) error {
			defer p.every(20 * ms)()
			w := serve(t, &Server{Config: Config{Policy: Sliding(timeout), Evidence: codec.Beats}, Codec: codec.Auto}, n)
			defer w.end()
			c := w.client(Client{})
			var wg sync.WaitGroup
			wg.Go(func() { io.Copy(io.Discard, c) })
			time.Sleep(2 * sec)
			var errs []error
			if c.End() != nil {
				errs = append(errs, fmt.Errorf("ended: %v", c.End()))
			}
			if c.Session().Stats().RTT <= 0 {
				errs = append(errs, errors.New("no round trip was measured"))
			}
			c.Close()
			wg.Wait()
			w.awaitClosed(KindSession)
			if e := w.one(KindSession); e.End.Reason != Done || e.End.Initiator != Peer {
				errs = append(errs, fmt.Errorf("ended %v", e.End))
			}
			return errors.Join(errs...)
		})
	})
}

// A peer that closes during a TLS handshake below yamux, as a scanner or a health check
// does, has closed: it is no error.
func TestCloseDuringAHandshake(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"tls", "yamux", "yamux-tls"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute)}}, networks(t)[name])
			defer w.end()
			conn, err := net.Dial("tcp", w.addr)
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
			w.awaitClosed(KindSession)
			if e := w.one(KindSession); e.End.Reason != PeerClosed || e.End.Initiator != Peer {
				t.Errorf("ended: %v", e.End)
			}
		})
	}
}

// A Write after CloseWrite fails, but does not change the reason of a later end.
func TestAWriteAfterCloseWriteIsNotTheEnd(t *testing.T) {
	t.Parallel()
	everyNetwork(t, func(t *testing.T, n network) {
		wrote := make(chan struct{})
		w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute)}, Handler: func(_ context.Context, c *Conn) {
			io.Copy(io.Discard, c)
			<-wrote
			c.CloseWith(Kicked, "")
		}}, n)
		defer w.end()
		c := w.client(Client{Codec: codec.Raw})
		c.Write([]byte("hello"))
		if err := c.CloseWrite(); err != nil {
			t.Error(err)
		}
		if _, err := c.Write([]byte("more")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write: %v", err)
		}
		close(wrote)
		_, err := c.Read(make([]byte, 1))
		if err == nil {
			t.Error("read something")
		}
		want := PeerReset // no EOF, which would look like a whole answer
		if n.codes {
			want = Kicked
		}
		c.Close()
		if e := c.End(); e.Reason != want || e.Initiator != Peer {
			t.Errorf("ended %v after %v, want %v", e, err, want)
		}
	})
}

// A Write on an ended stream returns the reason as soon as that was read.
func TestRule5WriteReturnsTheReason(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"quic", "yamux"} {
		n := networks(t)[name]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := serve(t, &Server{
				Config: Config{Policy: Sliding(time.Minute)}, Streams: Fixed(200 * time.Millisecond), Codec: codec.Frame,
				Handler: func(_ context.Context, c *Conn) { io.Copy(io.Discard, c) },
			}, n)
			defer w.end()
			c := w.client(Client{})
			var err error
			for b := make([]byte, 1<<10); err == nil; {
				_, err = c.Write(b)
			}
			if e, ok := errors.AsType[*Error](err); !ok || e.Reason == Done || e.Initiator != Peer {
				t.Errorf("Write: %v", err)
			}
			_, err = io.Copy(io.Discard, c)
			c.Close()
			// A stream of yamux that was reset hands out nothing more of what has come.
			if e := c.End(); e.Reason != FixedDeadline && (name == "quic" || e.Reason != PeerReset) || e.Initiator != Peer {
				t.Errorf("ended %v, after Read's %v", e, err)
			}
		})
	}
}

// A Write that fails while a Read is pending returns the reason that End returns.
func TestRule8WriteReturnsTheSameAsEnd(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"quic", "yamux"} {
		n := networks(t)[name]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 10 {
				w := serve(t, &Server{
					Config: Config{Policy: Sliding(time.Minute)}, Streams: Fixed(100 * ms), Codec: codec.Frame,
					Handler: func(_ context.Context, c *Conn) { io.Copy(io.Discard, c) },
				}, n)
				c := w.client(Client{})
				var reading sync.WaitGroup
				reading.Go(func() { io.Copy(io.Discard, c) })
				var err error
				for b := make([]byte, 1<<10); err == nil; {
					_, err = c.Write(b)
				}
				reading.Wait()
				// A stream of yamux that was reset hands out nothing more of what has come.
				if e := c.End(); !errors.Is(err, e.Reason) || e.Reason != FixedDeadline && (name == "quic" || e.Reason != PeerReset) {
					t.Errorf("Write: %v; End: %v", err, c.End())
				}
				c.Close()
				w.end()
			}
		})
	}
}

func TestDrainOnEveryTransport(t *testing.T) {
	t.Parallel()
	eitherHandler(t, func(t *testing.T, n network) {
		w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute)}, Codec: codec.Auto}, n)
		c := w.client(Client{})
		say(t, c, "hello")
		var reading sync.WaitGroup
		reading.Go(func() { io.Copy(io.Discard, c) })
		w.stop()
		select {
		case <-c.Draining():
		case <-time.After(8 * sec):
			t.Error("the client was not asked to finish")
		}
		c.Close()
		reading.Wait()
		w.end()
	})
}

// A missing certificate at this end is no protocol error of the client.
func TestALocalHandshakeFailureIsNotAProtocolError(t *testing.T) {
	t.Parallel()
	missing := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return nil, errors.New("can't load the certificate")
	}}
	unnamed := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }}
	everyNetwork(t, func(t *testing.T, n network) {
		for name, conf := range map[string]*tls.Config{"missing": missing, "unnamed": unnamed} {
			switch s := n.server.(type) {
			case tcp.Transport:
				if s.TLS == nil {
					return
				}
				s.TLS = conf
				n.server = s
			case quic.Transport:
				s.TLS = conf
				n.server = s
			case yamux.Transport:
				inner := s.Inner
				if with, ok := inner.(network); ok {
					inner = with.server
				}
				beneath := inner.(tcp.Transport)
				if beneath.TLS == nil {
					return
				}
				beneath.TLS = conf
				n.server = yamux.Transport{Inner: beneath}
			}
			w := serve(t, &Server{Config: Config{Policy: Fixed(time.Minute)}}, n)
			if sess, err := n.Dial(t.Context(), w.addr); err == nil {
				sess.Close(0, "")
				t.Fatal("connected to a server without a certificate")
			}
			w.awaitClosed(KindSession)
			if end := w.one(KindSession).End; end.Reason != TransportLost || !strings.Contains(end.Error(), "TLS handshake: ") {
				t.Errorf("%s: ended: %v", name, end)
			}
			w.end()
		}
	})
}

// A failed handshake of a client is reported like other ends, also over QUIC, where it
// comes before the accept.
func TestRule5AFailedHandshakeIsReported(t *testing.T) {
	t.Parallel()
	for name, client := range map[string]transport.Transport{"tls": tcp.Transport{TLS: new(tls.Config)}, "quic": quic.Transport{}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := serve(t, &Server{Config: Config{Policy: Fixed(time.Minute)}}, networks(t)[name])
			defer w.end()
			if sess, err := client.Dial(t.Context(), w.addr); err == nil {
				sess.Close(0, "")
				t.Fatal("a client that trusts nobody has connected")
			}
			w.awaitClosed(KindSession)
			if end := w.one(KindSession).End; end.Reason != TransportLost || !strings.Contains(end.Error(), "bad certificate") {
				t.Errorf("ended: %v", end)
			}
		})
	}
}

// A session has the state of its TLS at both ends, wherever that lies.
func TestSessionTLS(t *testing.T) {
	everyNetwork(t, func(t *testing.T, n network) {
		w := serve(t, &Server{Config: Config{Policy: Sliding(10 * sec)}}, n)
		defer w.end()
		c := w.client(Client{Codec: codec.Raw})
		defer c.Close()
		say(t, c, "x")
		want := strings.HasSuffix(t.Name(), "tls") || strings.HasSuffix(t.Name(), "quic")
		for _, s := range append(slices.Collect(w.srv.Sessions()), c.Session()) {
			if state := s.TLS(); (state != nil) != want || want && !state.HandshakeComplete {
				t.Errorf("%+v", state)
			}
		}
	})
}
