// Package peertest has what the tests of the servers share.
package peertest

import (
	"flag"
	"io"
	"log"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/livenet/livenet/liveness"
)

// Timeout is the shortest under which acknowledgements are evidence.
const Timeout = liveness.LeastAckTimeout

// Main runs a package's tests, and looks for goroutines that are left.
func Main(m *testing.M) {
	log.SetOutput(io.Discard)
	flag.Set("test.parallel", "16") // they wait far more than they work
	goleak.VerifyTestMain(m)
}

// Listen listens under cfg. Ends of connections go to the channel, too.
func Listen(t *testing.T, cfg *liveness.Config) (*liveness.Listener, <-chan *liveness.Error) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ends, logged := make(chan *liveness.Error, 16), cfg.Events
	cfg.Events = func(e liveness.Event) {
		logged(e)
		if e.What == liveness.Closed {
			ends <- e.End
		}
	}
	return liveness.NewListener(inner, cfg), ends
}

// End checks that the next end is for reason, due or a little more after began.
func End(t *testing.T, ends <-chan *liveness.Error, reason liveness.Reason, due time.Duration, began time.Time) {
	t.Helper()
	select {
	case e := <-ends:
		if took := time.Since(began); e.Reason != reason || took < due || took > due+3*time.Second/2 {
			t.Errorf("%v after %v, want %v after %v", e, took, reason, due)
		}
	case <-time.After(due + 5*time.Second):
		t.Fatalf("no end, want %v", reason)
	}
}

// One returns the only session of l.
func One(t *testing.T, l *liveness.Listener) *liveness.Session {
	t.Helper()
	var one *liveness.Session
	n := 0
	for s := range l.Sessions() {
		one = s
		n++
	}
	if n != 1 {
		t.Fatalf("%d sessions", n)
	}
	return one
}
