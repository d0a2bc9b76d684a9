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

// listening returns a listener of server, and a Transport to dial it with.
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

// connect dials l and returns the server's end of the session.
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

// A flood from spoofed addresses takes the memory of a limited number of handshakes, and
// real clients can still connect.
func TestAHandshakeFloodTakesLimitedMemory(t *testing.T) {
	const slots, flooded = 64, 1000
	l, client := listening(t, Transport{MaxUnverified: slots})
	f := newFlood(t, l.Addr(), 100)
	goroutines, heap := runtime.NumGoroutine(), heapInUse()
	f.send(t, flooded)
	connect(t, l, client) // processed after the flood's packets
	// Each handshake takes two to four goroutines, and some 25 KB.
	if n := runtime.NumGoroutine() - goroutines; n > 6*slots {
		t.Errorf("%d goroutines", n)
	} else if n < slots {
		t.Errorf("%d goroutines: the flood did not start %d handshakes", n, slots)
	}
	if n := heapInUse() - heap; n > 100<<10*slots {
		t.Errorf("%d bytes", n)
	}
}

func heapInUse() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}

// Accept returns an ended session for each handshake that failed, and none for a client
// that got a Retry.
func TestRule5AFailedHandshakeIsASessionThatHasEnded(t *testing.T) {
	const slots = 8
	l, client := listening(t, Transport{
		MaxUnverified: slots,
		Config:        &quicgo.Config{HandshakeIdleTimeout: 25 * time.Millisecond},
	})
	began := time.Now()
	newFlood(t, l.Addr(), 10).send(t, 100)
	for range slots {
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
			if most := int(slots*time.Since(began)/refillTime) + 1; more > most {
				t.Errorf("%d more failed, want at most %d", more, most)
			}
			return
		}
	}
}

// A slot is free again when its handshake succeeds.
func TestASucceededHandshakeFreesItsSlot(t *testing.T) {
	l, client := listening(t, Transport{MaxUnverified: 1})
	for i := range 10 {
		if verified(connect(t, l, client)) {
			t.Fatalf("client %d got a Retry", i)
		}
	}
}

// If many clients connect at once, some get a Retry, and all connect.
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

// With a negative MaxUnverified every client gets a Retry.
func TestNegativeMaxUnverifiedMeansAlwaysRetry(t *testing.T) {
	l, client := listening(t, Transport{MaxUnverified: -1})
	if !verified(connect(t, l, client)) {
		t.Error("a client connected without a Retry")
	}
}

// Slots become free with time, up to their number.
func TestSlotsRefillWithTime(t *testing.T) {
	h := newHandshakes(10, nil)
	taken := func() (n int) {
		for ; !h.requireRetry(nil); n++ {
		}
		return n
	}
	if n := taken(); n != 10 {
		t.Errorf("%d slots, want 10", n)
	}
	h.at = h.at.Add(-refillTime / 2)
	if n := taken(); n != 5 {
		t.Errorf("%d slots after half the time, want 5", n)
	}
	h.at = h.at.Add(-10 * refillTime)
	if n := taken(); n != 10 {
		t.Errorf("%d slots after a long time, want 10", n)
	}
}

// The number of handshakes under way is bounded, whether addresses are verified or not.
func TestUnfinishedHandshakesAreBounded(t *testing.T) {
	broken := errors.New("broken")
	failures := make(chan error, 1)
	h := newHandshakes(0, func(_ net.Addr, err error) {
		if err == broken { // otherwise it is the end of the test
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
