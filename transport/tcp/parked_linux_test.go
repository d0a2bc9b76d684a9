package tcp_test

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/tcp"
)

// woken is a Waker that says so.
type woken chan struct{}

func (w woken) Wake() { w <- struct{}{} }

func poll(t *testing.T, st transport.Stream) transport.Pollable {
	t.Helper()
	p, ok := transport.Poll(st)
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
		if _, ok := transport.Poll(stream); ok != parked {
			t.Errorf("parked %v: pollable %v", parked, ok)
		}
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
