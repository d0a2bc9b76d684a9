package quic_test

import (
	"io"
	"testing"

	"github.com/livenet/livenet/transport"
)

// WaitRead itself returns io.EOF at the peer's end. The conformance suite tests the rest.
func TestWaitReadReturnsEOF(t *testing.T) {
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
