package tcp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/tcp"
	"github.com/livenet/livenet/transport/transporttest"
)

// Rule 9: a listener reports after how long the kernel closes a silent connection by
// itself.
func TestRule9ListenerReportsTheKernelsTimeout(t *testing.T) {
	userTimeout := time.Minute
	if runtime.GOOS != "linux" {
		userTimeout = 0
	}
	for _, test := range []struct {
		tcp.Transport
		want time.Duration
	}{
		{tcp.Transport{}, 0},
		{tcp.Transport{UserTimeout: time.Minute}, userTimeout},
		{tcp.Transport{UserTimeout: 60 * 24 * time.Hour}, 0}, // cut to the maximum
		{tcp.Transport{Parked: true, UserTimeout: time.Minute}, userTimeout},
		{tcp.Transport{KeepAlive: net.KeepAliveConfig{Enable: true}}, 150 * time.Second},
		{tcp.Transport{KeepAlive: net.KeepAliveConfig{Enable: true, Idle: time.Hour, Interval: time.Second, Count: 3}}, time.Hour + 3*time.Second},
		{tcp.Transport{KeepAlive: net.KeepAliveConfig{Enable: true, Idle: -1, Interval: -1, Count: -1}}, 2*time.Hour + 9*75*time.Second},
	} {
		l, err := test.Listen(t.Context(), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		got := time.Duration(0)
		if i, ok := transport.As[transport.IdleTimeouter](l); ok {
			got = i.IdleTimeout()
		}
		if got != test.want {
			t.Errorf("%+v: %v, want %v", test.Transport, got, test.want)
		}
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	serverTLS, clientTLS := transporttest.Certificates(t)
	for _, test := range []struct {
		name           string
		server, client tcp.Transport
	}{
		{"Plain", tcp.Transport{}, tcp.Transport{}},
		{"TLS", tcp.Transport{TLS: serverTLS}, tcp.Transport{TLS: clientTLS}},
		{"Parked", tcp.Transport{Parked: true}, tcp.Transport{}},
		{"ParkedTLS", tcp.Transport{Parked: true, TLS: serverTLS}, tcp.Transport{TLS: clientTLS}},
	} {
		t.Run(test.name, func(t *testing.T) {
			transporttest.Run(t, transporttest.Config{
				New: func(t *testing.T) (server, client transport.Transport, addr string) {
					return test.server, test.client, "127.0.0.1:0"
				},
				Resets: true,
			})
		})
	}
}

// Rule 6: what a bare socket, such as netcat's, sees when this end closes or resets.
func TestRule6ABarePeerSeesFINOrRST(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(transport.Session, transport.Stream)
		want error
	}{
		{"Close", func(_ transport.Session, st transport.Stream) { st.Close() }, io.EOF},
		{"SessionClose", func(s transport.Session, _ transport.Stream) { s.Close(1, "a reason") }, io.EOF},
		{"CloseWrite", func(_ transport.Session, st transport.Stream) { st.CloseWrite() }, io.EOF},
		{"Reset", func(_ transport.Session, st transport.Stream) { st.Reset(1) }, syscall.ECONNRESET},
	} {
		for _, server := range []tcp.Transport{{}, {Parked: true}} {
			t.Run(fmt.Sprintf("%s/parked=%v", test.name, server.Parked), func(t *testing.T) {
				_, session, stream, raw := rawPeer(t, server)
				if _, err := raw.Write([]byte("never read")); err != nil {
					t.Fatal(err)
				}
				test.end(session, stream)
				if err := readOne(raw); !errors.Is(err, test.want) {
					t.Errorf("the peer sees %v, want %v", err, test.want)
				}
			})
		}
	}
}

// How a FIN and a RST from a bare socket end a session.
func TestFINAndRSTFromABarePeer(t *testing.T) {
	t.Run("FIN", func(t *testing.T) {
		_, session, stream, raw := rawPeer(t, tcp.Transport{})
		raw.CloseWrite()
		if err := readOne(stream); err != io.EOF {
			t.Errorf("Read: %v, want EOF", err)
		}
		if err := context.Cause(session.Context()); err != nil {
			t.Errorf("the session ended: %v", err)
		}
		if _, err := stream.Write([]byte("still there")); err != nil {
			t.Errorf("Write: %v", err)
		}
	})
	t.Run("RST", func(t *testing.T) {
		_, session, stream, raw := rawPeer(t, tcp.Transport{})
		raw.SetLinger(0)
		raw.Close()
		wantPeerReset(t, "Read", readOne(stream))
		wantPeerReset(t, "cause", context.Cause(session.Context()))
	})
	t.Run("GoneWhileWeWrite", func(t *testing.T) {
		_, session, stream, raw := rawPeer(t, tcp.Transport{})
		closed := make(chan error)
		go func() {
			// The peer has read something, so this end is in the middle of writing.
			_, err := io.ReadFull(raw, make([]byte, 1<<20))
			raw.Close()
			closed <- err
		}()
		var err error
		for err == nil {
			_, err = stream.Write(make([]byte, 64<<10))
		}
		wantPeerReset(t, "Write", err)
		wantPeerReset(t, "cause", context.Cause(session.Context()))
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

// What arrived before the peer's reset can still be read after a Write has failed.
func TestReadAfterFailedWrite(t *testing.T) {
	_, _, stream, raw := rawPeer(t, tcp.Transport{})
	const answer = "413 too much"
	if _, err := raw.Write([]byte(answer)); err != nil {
		t.Fatal(err)
	}
	raw.Close()
	var err error
	for err == nil {
		_, err = stream.Write([]byte("more and "))
	}
	wantPeerReset(t, "Write", err)
	got := make([]byte, len(answer))
	if n, err := io.ReadFull(stream, got); err != nil || string(got) != answer {
		t.Errorf("read %q, %v", got[:n], err)
	}
}

// NetConn leads to the socket, which liveness needs to read TCP_INFO.
func TestNetConnLeadsToTheSocket(t *testing.T) {
	serverTLS, clientTLS := transporttest.Certificates(t)
	for _, test := range []struct {
		name           string
		server, client tcp.Transport
	}{
		{"Plain", tcp.Transport{}, tcp.Transport{}},
		{"TLS", tcp.Transport{TLS: serverTLS}, tcp.Transport{TLS: clientTLS}},
		{"Parked", tcp.Transport{Parked: true}, tcp.Transport{}},
		{"ParkedTLS", tcp.Transport{Parked: true, TLS: serverTLS}, tcp.Transport{TLS: clientTLS}},
	} {
		t.Run(test.name, func(t *testing.T) {
			opened, accepted := connect(t, test.client, listen(t, test.server))
			for _, st := range []transport.Stream{opened, accepted} {
				if kernel(st) == nil {
					t.Errorf("%T does not lead to a socket", st)
				}
			}
		})
	}
}

// socket follows NetConn to the *net.TCPConn.
func socket(c net.Conn) *net.TCPConn {
	tcpConn, _ := innermost(c).(*net.TCPConn)
	return tcpConn
}

// kernel follows NetConn to the innermost connection.
func kernel(c net.Conn) syscall.Conn {
	conn, _ := innermost(c).(syscall.Conn)
	return conn
}

func innermost(c net.Conn) net.Conn {
	for {
		outer, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = outer.NetConn()
	}
}

// rawPeer accepts a session from a peer that is a bare socket.
func rawPeer(t *testing.T, server tcp.Transport) (transport.Listener, transport.Session, transport.Stream, *net.TCPConn) {
	t.Helper()
	l := listen(t, server)
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	session, stream := accept(t, l)
	return l, session, stream, raw.(*net.TCPConn)
}

// connect makes a stream from client to l.
func connect(t *testing.T, client tcp.Transport, l transport.Listener) (opened, accepted transport.Stream) {
	t.Helper()
	dialled := make(chan error, 1)
	go func() {
		var err error
		opened, err = dial(t, client, l.Addr().String())
		dialled <- err
	}()
	_, accepted = accept(t, l)
	if err := readOne(accepted); err != nil {
		t.Fatal(err)
	}
	if err := <-dialled; err != nil {
		t.Fatal(err)
	}
	return opened, accepted
}

func listen(t *testing.T, server tcp.Transport) transport.Listener {
	t.Helper()
	l, err := server.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// dial opens a stream with a first byte.
func dial(t *testing.T, client tcp.Transport, addr string) (transport.Stream, error) {
	session, err := client.Dial(t.Context(), addr)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { session.Close(0, "") })
	stream, err := session.OpenStream(t.Context())
	if err == nil {
		_, err = stream.Write([]byte{0})
	}
	return stream, err
}

func accept(t *testing.T, l transport.Listener) (transport.Session, transport.Stream) {
	t.Helper()
	session, err := l.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close(0, "") })
	stream, err := session.AcceptStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stream.SetDeadline(time.Now().Add(maxWait))
	return session, stream
}

// maxWait is the longest that a test waits for something that has to happen.
const maxWait = 10 * time.Second

func readOne(r io.Reader) error {
	_, err := io.ReadFull(r, make([]byte, 1))
	return err
}

func wantPeerReset(t *testing.T, what string, err error) {
	t.Helper()
	ce, ok := errors.AsType[*transport.CloseError](err)
	if !ok || ce.Origin != transport.Peer || !ce.Reset {
		t.Errorf("%s: %v, want a reset by the peer", what, err)
	}
}
