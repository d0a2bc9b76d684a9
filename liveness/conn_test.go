package liveness_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

func TestConnIsANetConn(t *testing.T) {
	t.Parallel()
	patient := &Config{Policy: Sliding(time.Hour), Opening: time.Hour}
	wrapped := func(pair func() (a, b net.Conn)) nettest.MakePipe {
		return func() (a, b net.Conn, stop func(), err error) {
			a, b = pair()
			a, b = NewConn(a, patient), NewConn(b, patient)
			return a, b, func() { a.Close(); b.Close() }, nil
		}
	}
	coded := func(tr func() transport.Transport, c codec.Codec) nettest.MakePipe {
		return func() (a, b net.Conn, stop func(), err error) {
			client, server, stop := framedPair(t, tr(), c)
			return client, server, stop, nil
		}
	}
	reversed := func(mp nettest.MakePipe) nettest.MakePipe {
		return func() (a, b net.Conn, stop func(), err error) {
			b, a, stop, err = mp()
			return a, b, stop, err
		}
	}
	single := func() transport.Transport { return newPipes() }
	for name, mp := range map[string]nettest.MakePipe{
		"pipe":         wrapped(net.Pipe),
		"tcp":          wrapped(func() (a, b net.Conn) { return tcpPair(t) }),
		"frame":        coded(memory, codec.Frame),
		"frame server": reversed(coded(memory, codec.Frame)),
		"auto":         coded(single, codec.Auto),
		"auto server":  reversed(coded(single, codec.Auto)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nettest.TestConn(t, mp)
		})
	}
}

// framedPair returns a client's and a server's end of one stream.
func framedPair(t *testing.T, tr transport.Transport, c codec.Codec) (client, server *Conn, stop func()) {
	accepted, release := make(chan *Conn, 1), make(chan struct{})
	greets := c == codec.Auto || c == codec.Frame
	w := serve(t, &Server{
		Config: Config{Policy: Sliding(time.Hour), Opening: time.Hour},
		Codec:  c,
		Handler: func(_ context.Context, c *Conn) {
			if greets { // the server's Hello goes out as it reads, and the tests may not read
				c.Read(make([]byte, 1))
			}
			accepted <- c
			<-release
		},
	}, tr)
	client = w.client(Client{Codec: c, NoBeat: true})
	if greets {
		client.Write([]byte("x"))
	}
	server = <-accepted
	return client, server, func() {
		server.Close() // first: the client waits for the server's end
		client.Close()
		close(release)
		w.end()
	}
}

func tcpPair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

func TestDataPassesTheCodecUnchanged(t *testing.T) {
	for _, size := range []int{1, 7, 63, 64, 65, 1000, 16<<10 - 1, 16 << 10, 16<<10 + 1, 1 << 20} {
		client, server, stop := framedPair(t, memory(), codec.Auto)
		sent := make([]byte, size)
		rand.Read(sent)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := client.Write(sent); err != nil {
				t.Error(err)
			}
			if err := client.CloseWrite(); err != nil {
				t.Error(err)
			}
		})
		got, err := io.ReadAll(server)
		if err != nil || string(got) != string(sent) {
			t.Errorf("%d bytes: got %d, %v", size, len(got), err)
		}
		wg.Wait()
		// The other direction is still open.
		if _, err := server.Write([]byte("done")); err != nil {
			t.Error(err)
		}
		server.Close()
		if got, err := io.ReadAll(client); err != nil || string(got) != "done" {
			t.Errorf("got %q, %v", got, err)
		}
		stop()
	}
}

// A frame that a write deadline truncates is completed before anything else is sent.
func TestATruncatedFrameIsCompletedFirst(t *testing.T) {
	client, server, stop := framedPair(t, memory(), codec.Auto)
	defer stop()
	sent := 0
	client.SetWriteDeadline(time.Now().Add(50 * ms))
	for {
		n, err := client.Write(make([]byte, 10_000))
		sent += n
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			break
		}
	}
	client.SetWriteDeadline(time.Time{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := client.Write([]byte("the end")); err != nil {
			t.Error(err)
		}
		client.CloseWrite()
	})
	got, err := io.ReadAll(server)
	if err != nil || len(got) != sent+7 || string(got[sent:]) != "the end" {
		t.Errorf("sent %d, got %d, %v", sent+7, len(got), err)
	}
	wg.Wait()
}

// A Write that sent nothing does not change the codec's state.
func TestAWriteThatSentNothingChangesNothing(t *testing.T) {
	for _, test := range []struct {
		name       string
		codec      codec.Codec
		first      string // is written
		nothing    string // of this nothing goes out
		says       string // the peer
		then, want string // is written then; and what the peer gets of it all
	}{
		{"within a line", codec.Line, "half a ", "line\n", "PING\n", "line\n", "half a line\nPONG\n"},
		{"between lines", codec.Line, "a line\n", "half a ", "PING\n", "", "a line\nPONG\n"},
		{"before the Hello", codec.Frame, "", "data", "", "data", "\x01\x08\x80\xdd\xdb\x01\x80\x9fI\x00" + "\x02\x04data"},
	} {
		t.Run(test.name, func(t *testing.T) {
			bothKinds(t, func(t *testing.T, tr transport.Transport) {
				w := serve(t, &Server{
					Config: Config{Policy: Sliding(time.Hour), Opening: time.Hour}, Codec: test.codec,
					Handler: func(_ context.Context, c *Conn) {
						var reading sync.WaitGroup
						reading.Go(func() { io.Copy(io.Discard, c) })
						defer reading.Wait()
						io.WriteString(c, test.first)
						c.SetWriteDeadline(time.Now().Add(-1))
						if n, err := io.WriteString(c, test.nothing); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
							t.Errorf("wrote %d bytes, %v", n, err)
						}
						c.SetWriteDeadline(time.Time{})
						time.Sleep(2 * sec)
						io.WriteString(c, test.then)
						time.Sleep(sec)
						c.Close()
					},
				}, tr)
				sess, st := w.dial()
				var writing sync.WaitGroup
				writing.Go(func() {
					time.Sleep(sec)
					io.WriteString(st, test.says)
				})
				got := make([]byte, len(test.want))
				if n, err := io.ReadFull(st, got); err != nil || string(got) != test.want {
					t.Errorf("got %q, %v", got[:n], err)
				}
				writing.Wait()
				sess.Close(0, "")
				w.end()
			})
		})
	}
}

func TestNewConnClosesTheWrappedConn(t *testing.T) {
	a, b := tcpPair(t)
	defer b.Close()
	var events []Event
	c := NewConn(a, &Config{Policy: Sliding(time.Hour), Events: func(e Event) { events = append(events, e) }})
	if c.NetConn() != a {
		t.Error("NetConn")
	}
	if d := time.Until(c.Deadline()); d < 9*sec || d > 10*sec {
		t.Errorf("the opening deadline is in %v", d)
	}
	c.Close()
	c.Close()
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the wrapped connection: %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read: %v", err)
	}
	if c.Renew() {
		t.Error("a closed connection was renewed")
	}
	if len(events) != 2 || events[0].What != Opened || events[1].What != Closed || events[1].End.Reason != Done {
		t.Errorf("events: %+v", events)
	}
}

func TestReasonsOfEndsByThePeer(t *testing.T) {
	tests := []struct {
		name string
		end  func(net.Conn)
		want Reason
		err  error
	}{
		{"FIN", func(c net.Conn) { c.Close() }, PeerClosed, io.EOF},
		{"RST", func(c net.Conn) { c.(*net.TCPConn).SetLinger(0); c.Close() }, PeerReset, syscall.ECONNRESET},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := tcpPair(t)
			c := NewConn(a, &Config{Policy: Sliding(time.Hour)})
			tt.end(b)
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, tt.err) {
				t.Errorf("Read: %v", err)
			}
			c.Close()
			if e := c.End(); e.Reason != tt.want || e.Initiator != Peer {
				t.Errorf("ended %v", e)
			}
		})
	}
}

// On plain TCP an orderly end is a FIN. A peer whose data is truncated gets an RST. So
// does a silent one, so that the kernel does not go on retransmitting.
func TestRule6PlainTCP(t *testing.T) {
	tests := []struct {
		policy Policy
		reset  bool
	}{{Sliding(time.Minute), false}, {Fixed(50 * ms), true}, {Sliding(50 * ms), true}}
	for _, tt := range tests {
		a, b := tcpPair(t)
		defer b.Close()
		c := NewConn(a, &Config{Policy: tt.policy, Engine: new(Engine)})
		c.Write([]byte("unread"))
		if !tt.reset {
			c.Close()
		}
		for c.End() == nil {
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Fatal("read something")
			}
		}
		// What the peer's kernel made of it shows when it has read the rest.
		var err error
		for buf := make([]byte, 100); err == nil; {
			_, err = b.Read(buf)
		}
		if reset := errors.Is(err, syscall.ECONNRESET); reset != tt.reset {
			t.Errorf("%v: the peer sees %v", c.End(), err)
		}
	}
}

// A resetting connection is one that the peer has reset, for writing only: what had
// come before can be read.
type resetting struct{ net.Conn }

func (r resetting) Write(p []byte) (int, error) {
	if len(p) > 0 && p[0] == 0x02 { // a Data frame
		return 0, &net.OpError{Op: "write", Err: syscall.ECONNRESET}
	}
	return r.Conn.Write(p)
}

// A failed Write does not know the reason. The peer's Close frame replaces it everywhere.
func TestRule5CloseFrameReplacesAWriteError(t *testing.T) {
	for _, readsFirst := range []bool{true, false} {
		t.Run(fmt.Sprintf("reads first %v", readsFirst), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				n := newPipes()
				n.pair = func() (a, b net.Conn) {
					a, b = net.Pipe()
					return resetting{a}, b
				}
				var serving sync.WaitGroup
				defer serving.Wait()
				serving.Go(func() {
					peer := <-n.accept
					defer peer.Close()
					peer.Read(make([]byte, 64))
					io.WriteString(peer, hello)
					io.WriteString(peer, "\x05\x01\x00")
				})
				c, err := (&Client{Codec: codec.Frame, NoBeat: true, Engine: new(Engine)}).Dial(t.Context(), n, "")
				if err != nil {
					t.Fatal(err)
				}
				want := func(what string, err error) {
					if e, ok := errors.AsType[*Error](err); !ok || e.Reason != FixedDeadline || e.Initiator != Peer {
						t.Errorf("%s: %v", what, err)
					}
				}
				if !readsFirst {
					c.Write([]byte("x")) // knows no more than that
				}
				_, err = c.Read(make([]byte, 64))
				want("Read", err)
				_, err = c.Write([]byte("x"))
				want("Write", err)
				c.Close()
				want("End", c.End())
			})
		})
	}
}

// A policy may have no further deadline once the peer was heard.
func TestDeadlineIsZeroWithoutOne(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close()
		c := NewConn(a, &Config{Policy: Within(5 * sec), Engine: new(Engine)})
		defer c.Close()
		if d := time.Until(c.Deadline()); d <= 0 || d > 5*sec {
			t.Errorf("before it is heard: %v", d)
		}
		c.Renew()
		if d := c.Deadline(); !d.IsZero() {
			t.Errorf("once it has been heard: %v", d)
		}
	})
}

func TestNewListener(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	l := NewListener(inner, &Config{Policy: Fixed(time.Hour), Events: func(e Event) {
		told = append(told, fmt.Sprint(e.What, " ", e.Policy))
	}})
	defer l.Close()
	if want := []string{"listening fixed 1h0m0s"}; !slices.Equal(told, want) {
		t.Errorf("events %q, want %q", told, want)
	}
	peer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, ok := conn.(*Conn); !ok {
		t.Errorf("Accept returned a %T", conn)
	}
}
