package tcp_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/tcp"
	"github.com/livenet/livenet/transport/transporttest"
)

// woken is a Waker that says so.
type woken chan struct{}

func (w woken) Wake() { w <- struct{}{} }

func (w woken) wait(t *testing.T) {
	t.Helper()
	select {
	case <-w:
	case <-time.After(10 * time.Second):
		t.Fatal("nobody was woken")
	}
}

func poll(t *testing.T, st transport.Stream) transport.Pollable {
	t.Helper()
	p, ok := transport.Poll(st)
	if !ok {
		t.Fatalf("%T is not pollable", st)
	}
	return p
}

// Only a listener that was asked for it has connections that are pollable.
func TestPollable(t *testing.T) {
	for _, parked := range []bool{false, true} {
		_, _, stream, _ := rawPeer(t, tcp.Transport{Parked: parked})
		if _, ok := transport.Poll(stream); ok != parked {
			t.Errorf("parked %v: pollable %v", parked, ok)
		}
	}
}

// A waker is woken once for what comes, and TryRead never waits.
func TestWakeOnRead(t *testing.T) {
	serverTLS, clientTLS := transporttest.Certificates(t)
	for _, test := range []struct {
		name           string
		server, client tcp.Transport
	}{
		{"Plain", tcp.Transport{Parked: true}, tcp.Transport{}},
		{"TLS", tcp.Transport{Parked: true, TLS: serverTLS}, tcp.Transport{TLS: clientTLS}},
	} {
		t.Run(test.name, func(t *testing.T) {
			opened, accepted := connect(t, test.client, listen(t, test.server))
			p := poll(t, accepted)
			buf := make([]byte, 4)
			w := make(woken, 1)
			for round := range 100 {
				// What comes may be more than one buffer takes, and with TLS lie
				// in the connection's own.
				sent := make([]byte, 1+round)
				for i := range sent {
					sent[i] = byte(round + i)
				}
				go opened.Write(sent)
				var got []byte
				for len(got) < len(sent) {
					n, err := p.TryRead(buf)
					got = append(got, buf[:n]...)
					if err == transport.ErrWouldBlock {
						p.WakeOnRead(w)
						w.wait(t)
					} else if err != nil {
						t.Fatal(err)
					}
				}
				if string(got) != string(sent) {
					t.Fatalf("round %d: got %v", round, got)
				}
			}
			if n, err := p.TryRead(buf); n != 0 || err != transport.ErrWouldBlock {
				t.Errorf("TryRead of nothing: %d, %v", n, err)
			}
			p.WakeOnRead(w)
			opened.Close()
			for {
				w.wait(t)
				_, err := p.TryRead(buf)
				if err == io.EOF {
					break
				}
				if err != transport.ErrWouldBlock {
					t.Fatalf("TryRead at the peer's end: %v", err)
				}
				p.WakeOnRead(w)
			}
		})
	}
}

// Closing wakes, whoever closes, before and after.
func TestWakeOnClose(t *testing.T) {
	_, _, stream, _ := rawPeer(t, tcp.Transport{Parked: true})
	p := poll(t, stream)
	w := make(woken, 1)
	if _, err := p.TryRead(make([]byte, 1)); err != transport.ErrWouldBlock {
		t.Fatal(err)
	}
	p.WakeOnRead(w)
	stream.Close()
	w.wait(t)
	p.WakeOnRead(w)
	w.wait(t)
	if _, err := p.TryRead(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("TryRead after Close: %v", err)
	}
}

// A blocked Read has the input; TryRead does not take it away or wait.
func TestTryReadBesideRead(t *testing.T) {
	_, _, stream, raw := rawPeer(t, tcp.Transport{Parked: true})
	read := make(chan error, 1)
	go func() { read <- readOne(stream) }()
	for range 100 {
		if n, err := poll(t, stream).TryRead(make([]byte, 1)); n != 0 || err != transport.ErrWouldBlock {
			t.Fatalf("TryRead: %d, %v", n, err)
		}
	}
	raw.Write([]byte{1})
	if err := <-read; err != nil {
		t.Error(err)
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
