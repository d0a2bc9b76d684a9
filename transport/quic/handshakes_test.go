package quic

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/transporttest"
)

// listening is a transport's listener, and the transport to dial it with.
func listening(t *testing.T, server Transport) (*listener, Transport) {
	t.Helper()
	serverTLS, clientTLS := transporttest.Certificates(t)
	server.TLS = serverTLS
	l, err := server.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*listener), Transport{TLS: clientTLS}
}

// connect returns the server's side of a session.
func connect(t *testing.T, l *listener, client Transport) *session {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	s, err := client.Dial(ctx, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(0, "") })
	for {
		accepted, err := l.Accept(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := accepted.(*session); ok {
			return s
		}
	}
}

func verified(s *session) bool {
	return s.conn.Context().Value(handshakeKey{}).(*handshake).verified
}

// Whoever sends from addresses that are not his costs no more than so many
// handshakes, and a client that answers connects all the same.
func TestAFloodHoldsLittle(t *testing.T) {
	const places, flooded = 64, 1000
	l, client := listening(t, Transport{MaxUnverified: places})
	f := newFlood(t, l.Addr(), 100)
	goroutines, heap := runtime.NumGoroutine(), heapInUse()
	f.send(t, flooded)
	connect(t, l, client) // which comes after those
	// Each handshake takes two to four goroutines, and some 25 KB.
	if n := runtime.NumGoroutine() - goroutines; n > 6*places {
		t.Errorf("%d goroutines", n)
	} else if n < places {
		t.Errorf("%d goroutines: the flood has not begun %d handshakes", n, places)
	}
	if n := heapInUse() - heap; n > 100<<10*places {
		t.Errorf("%d bytes", n)
	}
}

func heapInUse() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}

// Each handshake that fails is a session to accept, which has ended; and none of
// those that were not begun.
func TestAFailedHandshakeIsASessionThatHasEnded(t *testing.T) {
	const places = 8
	l, client := listening(t, Transport{
		MaxUnverified: places,
		Config:        &quicgo.Config{HandshakeIdleTimeout: 25 * time.Millisecond},
	})
	began := time.Now()
	newFlood(t, l.Addr(), 10).send(t, 100)
	for range places {
		s, err := l.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		wait(t, s.Context().Done())
		cause, ok := context.Cause(s.Context()).(*transport.CloseError)
		if !ok || cause.Origin != transport.Lost || cause.Err == nil {
			t.Errorf("ended: %v", context.Cause(s.Context()))
		}
		if _, err := s.AcceptStream(t.Context()); err != cause {
			t.Errorf("AcceptStream: %v", err)
		}
	}
	s, err := client.Dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(0, "")
	for more := 0; ; more++ {
		accepted, err := l.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if accepted.Context().Err() == nil {
			if most := int(places*time.Since(began)/refillTime) + 1; more > most {
				t.Errorf("%d more failed, want at most %d", more, most)
			}
			return
		}
	}
}

// A place is free again when its handshake succeeds.
func TestWhoConnectsTakesNoPlace(t *testing.T) {
	l, client := listening(t, Transport{MaxUnverified: 1})
	for i := range 10 {
		if verified(connect(t, l, client)) {
			t.Fatalf("client %d was asked to show its address", i)
		}
	}
}

// Many clients at once are asked to show their addresses, and nothing worse.
func TestABurstOfClientsConnects(t *testing.T) {
	l, client := listening(t, Transport{MaxUnverified: 4})
	var dialling sync.WaitGroup
	for range 20 {
		dialling.Go(func() {
			s, err := client.Dial(t.Context(), l.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			s.Close(0, "")
		})
	}
	dialling.Wait()
}

func TestAllClientsMayBeAsked(t *testing.T) {
	l, client := listening(t, Transport{MaxUnverified: -1})
	if !verified(connect(t, l, client)) {
		t.Error("a client was let in without having shown its address")
	}
}

// Places come back with time, and no more of them than there were.
func TestPlacesComeBack(t *testing.T) {
	h := newHandshakes(10, nil)
	taken := func() (n int) {
		for ; !h.mustProve(nil); n++ {
		}
		return n
	}
	if n := taken(); n != 10 {
		t.Errorf("%d places, want 10", n)
	}
	h.at = h.at.Add(-refillTime / 2)
	if n := taken(); n != 5 {
		t.Errorf("%d places after half the time, want 5", n)
	}
	h.at = h.at.Add(-10 * refillTime)
	if n := taken(); n != 10 {
		t.Errorf("%d places after a long time, want 10", n)
	}
}

// All that is under way is bounded, verified or not, until it ends.
func TestUnfinishedHandshakesAreBounded(t *testing.T) {
	broken := errors.New("broken")
	failures := make(chan error, 1)
	h := newHandshakes(0, func(_ net.Addr, err error) {
		if err == broken { // and not the test's end
			failures <- err
		}
	})
	ctx, fail := context.WithCancelCause(t.Context())
	client := &quicgo.ClientInfo{RemoteAddr: &net.UDPAddr{}, AddrVerified: true}
	for range maxUnfinished - 1 {
		if _, err := h.begin(t.Context(), client); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.begin(ctx, client); err != nil {
		t.Fatal(err)
	}
	if _, err := h.begin(t.Context(), client); !errors.Is(err, errBusy) {
		t.Errorf("one more than %d: %v", maxUnfinished, err)
	}
	fail(broken)
	<-failures
	if _, err := h.begin(t.Context(), client); err != nil {
		t.Errorf("after one has ended: %v", err)
	}
}
