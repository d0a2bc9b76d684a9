package transport_test

import (
	"errors"
	"net"
	"testing"

	"github.com/livenet/livenet/transport"
)

// A Write is truncated if it wrote something before this end's Close interrupted it.
func TestWriteGuardReportsATruncatedWrite(t *testing.T) {
	local := &transport.CloseError{Origin: transport.Local}
	for _, test := range []struct {
		name      string
		n         int
		err       error
		truncated bool
	}{
		{"whole", 5, nil, false},
		{"truncated", 3, local, true},
		{"truncated by a closed connection", 3, net.ErrClosed, true},
		{"truncated before the first byte", 0, local, false},
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
			g.Finish(func(truncated bool) {
				if ended = true; truncated != test.truncated {
					t.Errorf("truncated: %v, want %v", truncated, test.truncated)
				}
			})
			if !ended {
				t.Error("not ended")
			}
		})
	}
}

// Finish waits for a Write that is under way.
func TestWriteGuardFinishWaitsForWrite(t *testing.T) {
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
	go g.Finish(func(truncated bool) {
		if !returns || !truncated {
			t.Errorf("Write has returned: %v; truncated: %v", returns, truncated)
		}
		close(ended)
	})
	close(interrupted)
	<-ended
}
