package yamux

import (
	"errors"
	"io"
	"reflect"
	"sync"
	"testing"
	"unsafe"

	"github.com/livenet/livenet/transport"
)

// Streams are Waiters, of which the conformance suite has the rest to say; that
// the peer has ended is not left to Read to say.
func TestWaitReadTellsTheEnd(t *testing.T) {
	client, server := connect(t)
	opened, accepted := streams(t, client, server)
	for _, way := range [][2]*stream{{opened, accepted}, {accepted, opened}} {
		way[0].CloseWrite()
		w, ok := transport.As[transport.Waiter](way[1])
		if !ok {
			t.Fatalf("%T is not a Waiter", way[1])
		}
		for range 2 {
			if err := w.WaitRead(); err != io.EOF {
				t.Errorf("WaitRead: %v", err)
			}
		}
	}
}

// Nor is the code with which the peer has ended the session.
func TestWaitReadTellsTheSessionsCode(t *testing.T) {
	client, server := connect(t)
	_, here := streams(t, client, server)
	client.Close(3, "")
	ce, ok := errors.AsType[*transport.CloseError](here.WaitRead())
	if !ok || ce.Origin != transport.Peer || ce.Code != 3 {
		t.Errorf("WaitRead: %v", ce)
	}
}

// hasBuffer reports whether yamux keeps a buffer for what comes in.
func hasBuffer(s *stream) bool {
	inner := reflect.ValueOf(s.inner).Elem()
	lock := (*sync.Mutex)(unsafe.Pointer(inner.FieldByName("recvLock").UnsafeAddr()))
	lock.Lock()
	defer lock.Unlock()
	return !inner.FieldByName("recvBuf").IsNil()
}

// A stream from which everything was read keeps no buffer, and one that is
// waiting for a reader loses nothing.
func TestSweep(t *testing.T) {
	client, server := connect(t)
	there, here := streams(t, client, server)
	unreadThere, unread := streams(t, client, server)
	for _, s := range []*stream{there, unreadThere} {
		io.WriteString(s, "data")
	}
	if _, err := io.ReadFull(here, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	if err := unread.WaitRead(); err != nil {
		t.Fatal(err)
	}
	if !server.wire.sweeper.due.Load() {
		t.Error("nobody is to sweep after what was read")
	}
	server.wire.sweep()
	if hasBuffer(here) || !hasBuffer(unread) {
		t.Errorf("a buffer for nothing: %v; for what is there: %v", hasBuffer(here), hasBuffer(unread))
	}
	for _, s := range []*stream{there, unreadThere} {
		s.Close()
	}
	for s, want := range map[*stream]string{here: "", unread: "data"} {
		if got, err := io.ReadAll(s); string(got) != want || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
	}
}
