package tcp_test

import (
	"cmp"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/tcp"
	"github.com/livenet/livenet/transport/transporttest"
)

// woken is a Waker that sends to the channel.
type woken chan struct{}

func (w woken) Wake() { w <- struct{}{} }

func (w woken) await(t *testing.T) {
	t.Helper()
	select {
	case <-w:
	case <-time.After(maxWait):
		t.Fatal("Wake was not called")
	}
}

func poll(t *testing.T, st transport.Stream) transport.Pollable {
	t.Helper()
	p, ok := transport.As[transport.Pollable](st)
	if !ok {
		t.Fatalf("%T is not pollable", st)
	}
	return p
}

// Connections are Pollable only if Parked is set. The conformance suite tests the rest.
func TestOnlyParkedConnectionsArePollable(t *testing.T) {
	for _, parked := range []bool{false, true} {
		_, _, stream, _ := rawPeer(t, tcp.Transport{Parked: parked})
		if _, ok := transport.As[transport.Pollable](stream); ok != parked {
			t.Errorf("parked %v: pollable %v", parked, ok)
		}
	}
}

// If TryRead returned ErrWouldBlock because a Read of the raw connection was under way,
// WakeOnRead wakes for what that Read left.
func TestWakeOnReadAfterARawRead(t *testing.T) {
	_, _, stream, peer := rawPeer(t, tcp.Transport{Parked: true})
	conn, err := kernel(stream).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	looked := make(chan struct{}, 100)
	reading := make(chan error, 1)
	go func() {
		var failed error
		err := conn.Read(func(fd uintptr) bool {
			_, failed = unix.Read(int(fd), make([]byte, 1))
			looked <- struct{}{}
			return failed != unix.EAGAIN
		})
		reading <- cmp.Or(err, failed)
	}()
	<-looked
	p := poll(t, stream)
	if _, err := p.TryRead(make([]byte, 1)); err != transport.ErrWouldBlock {
		t.Fatalf("TryRead beside a raw Read: %v", err)
	}
	if _, err := peer.Write([]byte("two")); err != nil {
		t.Fatal(err)
	}
	if err := <-reading; err != nil {
		t.Fatalf("raw Read: %v", err)
	}
	w := make(woken, 1)
	p.WakeOnRead(w)
	w.await(t)
	got := make([]byte, 10)
	if n, err := p.TryRead(got); err != nil || string(got[:n]) != "wo" {
		t.Errorf("TryRead: %q, %v", got[:n], err)
	}
}

// A merging connection sends its second write together with the third: in TLS, the end of
// the handshake together with the first data.
type merging struct {
	net.Conn
	writes int
	held   []byte
}

func (m *merging) Write(p []byte) (int, error) {
	m.writes++
	m.held = append(m.held, p...)
	if m.writes != 2 {
		if _, err := m.Conn.Write(m.held); err != nil {
			return 0, err
		}
		m.held = nil
	}
	return len(p), nil
}

// WakeOnRead wakes for data that arrived with the end of the handshake and was read from
// the socket by a Write.
func TestWakeOnReadForDataThatCameWithTheHandshake(t *testing.T) {
	certified, trusting := transporttest.Certificates(t)
	_, _, stream, raw := rawPeer(t, tcp.Transport{TLS: certified, Parked: true})
	trusting.ServerName = "127.0.0.1"
	peer := tls.Client(&merging{Conn: raw}, trusting)
	greeting := make(chan error, 1)
	go func() {
		_, err := peer.Write([]byte("first")) // with the handshake before it
		greeting <- err
	}()
	if _, err := stream.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := <-greeting; err != nil {
		t.Fatal(err)
	}
	p, w := poll(t, stream), make(woken, 1)
	p.WakeOnRead(w)
	w.await(t)
	got := make([]byte, 10)
	if n, err := p.TryRead(got); err != nil || string(got[:n]) != "first" {
		t.Errorf("TryRead: %q, %v", got[:n], err)
	}
}

// Wake is called after the handshake: a caller that is woken may hold a buffer, and a peer
// that never finishes its handshake must not cost one.
func TestWakeComesAfterTheHandshake(t *testing.T) {
	certified, trusting := transporttest.Certificates(t)
	_, _, stream, raw := rawPeer(t, tcp.Transport{TLS: certified, Parked: true})
	trusting.ServerName = "127.0.0.1"
	peer := tls.Client(raw, trusting)
	p, w := poll(t, stream), make(woken, 1)
	p.WakeOnRead(w)
	if err := peer.Handshake(); err != nil { // only WakeOnRead does the server's part
		t.Fatal(err)
	}
	w.await(t)
	if _, err := p.TryRead(make([]byte, 1)); err != transport.ErrWouldBlock {
		t.Errorf("TryRead: %v", err)
	}
}

// Rule 13: a closed descriptor's number may be reused at once. Calls under way on the old
// connection must not reach the new one.
func TestRule13AReusedDescriptorIsAnotherConnection(t *testing.T) {
	l := listen(t, tcp.Transport{Parked: true})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 200 {
				raw, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				raw.SetDeadline(time.Now().Add(20 * time.Second))
				msg := []byte{byte(g), byte(i)}
				raw.Write(msg)
				got := make([]byte, 2)
				if _, err := io.ReadFull(raw, got); err != nil || string(got) != string(msg) {
					t.Errorf("echo of %v: %v, %v", msg, got, err)
				}
				raw.Close()
			}
		})
	}
	var serving sync.WaitGroup
	for range 4 * 200 {
		_, st := accept(t, l)
		serving.Go(func() {
			msg := make([]byte, 2)
			if _, err := io.ReadFull(st, msg); err != nil {
				t.Error(err)
			}
			st.Write(msg)
			// The peer's Close, this end's Close and WakeOnRead, all at once.
			closing := make(woken, 1)
			poll(t, st).WakeOnRead(closing)
			st.Close()
			<-closing
		})
	}
	wg.Wait()
	serving.Wait()
}

// A crowd counts goroutines that have been woken and have not run yet.
type crowd struct {
	ready, most atomic.Int32
	woken       sync.WaitGroup
}

func (c *crowd) Wake() {
	c.most.Store(max(c.most.Load(), c.ready.Add(1))) // by the poller only
	go func() {
		c.ready.Add(-1)
		c.woken.Done()
	}()
}

// Rule 14: when a thousand sockets become readable at once, the poller lets the goroutines
// that it has woken run before it wakes more, so that others don't wait for all of them.
func TestRule14PollerYieldsBetweenBatches(t *testing.T) {
	const sockets, atOnce = 1000, 256
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // nothing runs at the same time as the poller
	l := listen(t, tcp.Transport{Parked: true})
	var c crowd
	peers := make([]net.Conn, sockets)
	for i := range peers {
		raw, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		peers[i] = raw
		_, st := accept(t, l)
		c.woken.Add(1)
		poll(t, st).WakeOnRead(&c)
	}
	for _, raw := range peers {
		raw.Write([]byte("x"))
	}
	all := make(chan struct{})
	go func() { c.woken.Wait(); close(all) }()
	select {
	case <-all:
	case <-time.After(20 * time.Second):
		t.Fatal("a Wake is missing")
	}
	if most := c.most.Load(); most > 2*atOnce {
		t.Errorf("%d had been woken and did not run yet, want no more than %d", most, 2*atOnce)
	}
}
