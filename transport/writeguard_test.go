package transport_test

import (
	"errors"
	"net"
	"testing"

	"github.com/livenet/livenet/transport"
)

// A Write is cut short if it wrote something, and this end has stopped it.
func TestWriteGuard(t *testing.T) {
	local := &transport.CloseError{Origin: transport.Local}
	for _, test := range []struct {
		name string
		n    int
		err  error
		cut  bool
	}{
		{"whole", 5, nil, false},
		{"cut", 3, local, true},
		{"cut by a closed connection", 3, net.ErrClosed, true},
		{"cut before the first byte", 0, local, false},
		{"reset by the peer", 3, &transport.CloseError{Origin: transport.Peer, Reset: true}, false},
		{"failed", 3, errors.New("failed"), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var g transport.WriteGuard
			n, err := g.Write(func() (int, error) { return test.n, test.err })
			if n != test.n || err != test.err {
				t.Errorf("Write: %d, %v", n, err)
			}
			g.Write(func() (int, error) { return 0, local }) // which changes nothing
			ended := false
			g.Finish(func(cut bool) {
				if ended = true; cut != test.cut {
					t.Errorf("cut: %v, want %v", cut, test.cut)
				}
			})
			if !ended {
				t.Error("not ended")
			}
		})
	}
}

// Finish waits for the Write that runs.
func TestWriteGuardWaits(t *testing.T) {
	var g transport.WriteGuard
	began, interrupted := make(chan struct{}), make(chan struct{})
	returns := false
	go g.Write(func() (int, error) {
		close(began)
		<-interrupted
		returns = true
		return 1, net.ErrClosed
	})
	<-began
	ended := make(chan struct{})
	go g.Finish(func(cut bool) {
		if !returns || !cut {
			t.Errorf("Write has returned: %v; cut: %v", returns, cut)
		}
		close(ended)
	})
	close(interrupted)
	<-ended
}
