package tunnel

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/livenet/livenet/internal/gateway"
	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport/tcp"
)

var publishers = []string{"yamux", "quic"}

// reach accepts connections to a service of s's tunnels until the test ends.
func (s *served) reach(t *testing.T, service string) (addr string, ends <-chan *liveness.Error) {
	t.Helper()
	l, err := tcp.Transport{}.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan *liveness.Error, 1<<14)
	srv := &liveness.Server{
		Config: liveness.Config{Policy: liveness.Sliding(soon), Opening: soon, Events: func(e liveness.Event) {
			if e.What == liveness.Closed {
				ended <- e.End
			}
		}},
		Drain:   time.Millisecond,
		Handler: func(ctx context.Context, c *liveness.Conn) { s.Reach(ctx, c, service) },
	}
	ctx, stop := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() { defer close(over); srv.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		srv.Close()
		<-over
	})
	return l.Addr().String(), ended
}

// The server forwards connections to a service behind the client. Either end may speak first,
// and a connection that is there before the tunnel waits for it.
func TestPublish(t *testing.T) {
	t.Parallel()
	for _, name := range publishers {
		s := serve(t, name, "", &Server{Services: map[string]bool{"red": true, "blue": true}})
		red, _ := s.reach(t, "red")
		waiting := dial(t, red)
		io.WriteString(waiting, "early")
		waiting.CloseWrite()
		r := run(t, name, s.addr, &Client{ID: "x", Publish: map[string]*gateway.Gateway{"red": echo(t, "red "), "blue": echo(t, "blue ")}})
		if got, err := io.ReadAll(waiting); string(got) != "red early" || err != nil {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		blue, _ := s.reach(t, "blue")
		if got, err := ask(t, blue, "hello"); got != "blue hello" || err != nil {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		// Another tunnel reaches it by its name.
		other := run(t, name, s.addr, new(Client)).listen(t, "blue")
		if got, err := ask(t, other, "hello"); got != "blue hello" || err != nil {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		// The client goes, and so do its connections, with an error.
		c := dial(t, red)
		io.WriteString(c, "hello")
		if _, err := io.ReadFull(c, make([]byte, len("red hello"))); err != nil {
			t.Fatal(err)
		}
		r.stop()
		if _, err := io.ReadAll(c); err == nil {
			t.Errorf("%s: the end looks whole", name)
		}
	}
}

// Without a tunnel a connection waits for the opening time, and ends with no-tunnel.
func TestNoPublisher(t *testing.T) {
	t.Parallel()
	const opening = 100 * time.Millisecond
	s := serve(t, "yamux", "", &Server{Services: map[string]bool{"red": true}, Opening: opening})
	addr, ends := s.reach(t, "red")
	for _, words := range []string{"hello", ""} {
		c := dial(t, addr)
		io.WriteString(c, words)
		if _, err := io.ReadAll(c); err == nil {
			t.Errorf("%q: the end looks whole", words)
		}
		if e := receive(t, ends); e.Reason != liveness.NoTunnel || e.Age < opening {
			t.Errorf("%q: ended %v after %v", words, e, e.Age)
		}
	}
}

// If the client can't reach the service, the connection ends with upstream-failed.
func TestPublishedServiceIsDown(t *testing.T) {
	t.Parallel()
	for _, name := range publishers {
		nobody, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		nobody.Close()
		a, _ := gateway.ParseAddress(nobody.Addr().String())
		s := serve(t, name, "", &Server{Services: map[string]bool{"red": true}})
		run(t, name, s.addr, &Client{ID: "x", Publish: map[string]*gateway.Gateway{"red": gateway.New(gateway.Config{Forward: []gateway.Address{a}})}})
		addr, ends := s.reach(t, "red")
		if got, err := ask(t, addr, "hello"); err == nil {
			t.Errorf("%s: it answers %q", name, got)
		}
		if e := receive(t, ends); e.Reason != liveness.UpstreamFailed || e.Text != "upstream-failed" {
			t.Errorf("%s: ended %v", name, e)
		}
	}
}

// A client is refused for good if it may not publish a service. If another client publishes
// the service, it retries until that one has gone.
func TestPublishRefused(t *testing.T) {
	t.Parallel()
	service := echo(t, "")
	for _, name := range publishers {
		s := serve(t, name, "", &Server{Services: map[string]bool{"red": true}})
		if err := receive(t, run(t, name, s.addr, &Client{ID: "x", Publish: map[string]*gateway.Gateway{"green": service}}).ended); !errors.Is(err, liveness.NoTunnel) ||
			!strings.Contains(err.Error(), "the server has no service green to publish") {
			t.Errorf("%s: %v", name, err)
		}
		first := run(t, name, s.addr, &Client{ID: "x", Publish: map[string]*gateway.Gateway{"red": service}})
		receive(t, first.connected)
		second := run(t, name, s.addr, &Client{ID: "y", Publish: map[string]*gateway.Gateway{"red": service}})
		if e := receive(t, second.retrying); !errors.Is(e.Err, liveness.Overload) || !strings.Contains(e.Err.Error(), "another tunnel publishes red") {
			t.Errorf("%s: %v", name, e.Err)
		}
		first.stop()
		receive(t, second.connected)
	}
}

func TestRegistrations(t *testing.T) {
	declared := map[string]bool{"red": true, "blue": true}
	many := make([]string, maxPublish+1)
	for _, test := range []struct {
		r    registration
		want liveness.Reason // Done: it is valid
	}{
		{registration{}, liveness.Done},
		{registration{ID: "x", Publish: []string{"red", "blue"}}, liveness.Done},
		{registration{Publish: []string{"red"}}, liveness.ProtocolError},
		{registration{ID: "x", Publish: []string{"red", "red"}}, liveness.ProtocolError},
		{registration{ID: "x", Publish: []string{""}}, liveness.ProtocolError},
		{registration{ID: "x", Publish: []string{"green"}}, liveness.NoTunnel},
		{registration{ID: "x", Publish: many}, liveness.TooLarge},
		{registration{ID: "\x1b[2J"}, liveness.ProtocolError},
		{registration{ID: strings.Repeat("x", 257)}, liveness.ProtocolError},
	} {
		if err := test.r.check(declared); err == nil && test.want != liveness.Done || err != nil && err.Reason != test.want {
			t.Errorf("%+v: %v", test.r, err)
		}
	}
}

// Of two clients with one id, the superseded one stops.
func TestSupersededStops(t *testing.T) {
	t.Parallel()
	for _, name := range publishers {
		s := serve(t, name, "", &Server{Services: map[string]bool{"red": true}})
		addr, _ := s.reach(t, "red")
		first := run(t, name, s.addr, &Client{ID: "x", Publish: map[string]*gateway.Gateway{"red": echo(t, "1 ")}})
		receive(t, first.connected)
		run(t, name, s.addr, &Client{ID: "x", Publish: map[string]*gateway.Gateway{"red": echo(t, "2 ")}})
		if err := receive(t, first.ended); !errors.Is(err, liveness.Superseded) {
			t.Errorf("%s: it ended with %v", name, err)
		}
		s.closed(t, liveness.KindSession, liveness.Superseded)
		if got, err := ask(t, addr, "hello"); got != "2 hello" || err != nil {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

// A fake is a client's session that publishes red, and answers with its number.
type fake struct {
	*liveness.Conn
	number int
}

func newFake(t *testing.T, name, addr, id string, number int, client *liveness.Client) *fake {
	t.Helper()
	c, err := client.Dial(t.Context(), network()[name].client, addr)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := json.Marshal(registration{ID: id, Publish: []string{"red"}})
	c.Write(appendHeader(nil, b))
	if body, _, plain, err := readHeader(c, soon, 0); err != nil || plain || len(body) > 0 {
		t.Fatalf("%d isn't let in: %q, %v, %v", number, body, err, c.End())
	}
	go io.Copy(io.Discard, c)
	go func() {
		for {
			stream, err := c.Session().AcceptStream(t.Context())
			if err != nil {
				return
			}
			readHeader(stream, soon, 0)
			fmt.Fprintf(stream, "%d", number)
			stream.CloseWrite()
			stream.Close()
		}
	}()
	return &fake{c, number}
}

// takeovers is how often a client with the same id connects again; -takeovers 10000 is a
// trial of minutes.
var takeovers = flag.Int("takeovers", 300, "of TestRule13TakenOverManyTimes")

// A session is replaced by one of the same id many times, while some old sessions close
// and others' leases expire. The end of an old session never removes its successor, nor delays it.
func TestRule13TakenOverManyTimes(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	t.Parallel()
	const timeout = 500 * time.Millisecond
	for _, name := range publishers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &Server{Services: map[string]bool{"red": true}, Opening: soon}
			w := serveUnder(t, name, "", s, liveness.Sliding(timeout))
			addr, _ := w.reach(t, "red")
			rng := rand.New(rand.NewPCG(1, 2))
			var last *fake
			for i := range *takeovers {
				client := &liveness.Client{NoBeat: i%50 == 0}
				next := newFake(t, name, w.addr, "x", i, client)
				if last != nil {
					receive(t, last.Done())
					e := last.End()
					left := e.Reason == liveness.Done && e.Initiator == liveness.Local && last.number%3 == 0
					late := e.Reason == liveness.Silent && e.Initiator == liveness.Peer && last.number%50 == 0
					if !left && !late && !(e.Reason == liveness.Superseded && e.Initiator == liveness.Peer) {
						t.Errorf("%d ended %v", last.number, e)
					}
					last.Close()
				}
				c := dial(t, addr)
				if got, err := io.ReadAll(c); string(got) != fmt.Sprint(i) || err != nil {
					t.Fatalf("%d answers %q, %v; %v", i, got, err, next.End())
				}
				c.Close()
				if i%50 == 0 { // its lease expires about when the next one registers
					time.Sleep(timeout - 10*time.Millisecond + time.Duration(rng.Int64N(int64(20*time.Millisecond))))
				} else if e := next.End(); e != nil {
					t.Fatalf("%d has ended: %v", i, e)
				}
				if i%3 == 0 {
					go next.Close()
				}
				last = next
			}
			last.Close()
		})
	}
}
