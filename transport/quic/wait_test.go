package quic_test

import (
	"io"
	"testing"

	"github.com/livenet/livenet/transport"
)

// Streams are Waiters, of which the conformance suite has the rest to say; and
// that the peer has ended is not left to Read to say.
func TestWaitReadTellsTheEnd(t *testing.T) {
	client, server := connect(t, nil, nil)
	opened, accepted := streams(t, client, server)
	if _, err := io.ReadFull(accepted, make([]byte, len("hello"))); err != nil {
		t.Fatal(err)
	}
	for _, way := range [][2]transport.Stream{{opened, accepted}, {accepted, opened}} {
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
