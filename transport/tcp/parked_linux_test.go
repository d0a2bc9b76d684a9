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

// woken is a Waker that says so.
type woken chan struct{}

func (w woken) Wake() { w <- struct{}{} }

func (w woken) await(t *testing.T) {
	t.Helper()
	select {
	case <-w:
	case <-time.After(patience):
		t.Fatal("nobody is woken")
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

// Only a listener that was asked for it has connections that are pollable; the
// conformance suite has the rest to say of them.
func TestPollable(t *testing.T) {
	for _, parked := range []bool{false, true} {
		_, _, stream, _ := rawPeer(t, tcp.Transport{Parked: parked})
		if _, ok := transport.As[transport.Pollable](stream); ok != parked {
			t.Errorf("parked %v: pollable %v", parked, ok)
		}
	}
}

// What a Read of the raw connection has left is not lost on whoever was told
// meanwhile that there is nothing.
func TestParkedAfterARawRead(t *testing.T) {
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

// A merging connection sends its second write with the third: of TLS, the end of the
// handshake with what comes first.
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

// What came with the handshake, and was read with it by a Write, wakes as well.
func TestWhatCameWithTheHandshakeWakes(t *testing.T) {
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

// Whoever is woken finds the handshake done: he may hold a buffer, for which a peer that
// never ends it must not be good.
func TestTheHandshakeIsDoneBeforeAnybodyIsWoken(t *testing.T) {
	certified, trusting := transporttest.Certificates(t)
	_, _, stream, raw := rawPeer(t, tcp.Transport{TLS: certified, Parked: true})
	trusting.ServerName = "127.0.0.1"
	peer := tls.Client(raw, trusting)
	p, w := poll(t, stream), make(woken, 1)
	p.WakeOnRead(w)
	if err := peer.Handshake(); err != nil { // which nobody but a waker takes part in
		t.Fatal(err)
	}
	w.await(t)
	if _, err := p.TryRead(make([]byte, 1)); err != transport.ErrWouldBlock {
		t.Errorf("TryRead: %v", err)
	}
}

// A descriptor that is closed may be another connection's at once: whatever is
// still under way for the old one must not reach the new one.
func TestDescriptorsAreReused(t *testing.T) {
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
			// The peer's end, this one's, and a waker, all at once.
			closing := make(woken, 1)
			poll(t, st).WakeOnRead(closing)
			st.Close()
			<-closing
		})
	}
	wg.Wait()
	serving.Wait()
}

// crowd counts those who have been woken and have not run yet.
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

// When a thousand sockets have something at once, those that were woken first
// get to run before the others are woken: whoever else wants to run need not
// stand in line behind all of them.
func TestACrowdIsWokenBitByBit(t *testing.T) {
	const sockets, atOnce = 1000, 256
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // nobody runs beside the poller
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
		t.Fatal("somebody is not woken")
	}
	if most := c.most.Load(); most > 2*atOnce {
		t.Errorf("%d had been woken and did not run yet, want no more than %d", most, 2*atOnce)
	}
}
