package transport_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"testing"

	"github.com/livenet/livenet/transport"
)

func listenTCP(t *testing.T) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

// Of many who wait for Accept, each may give up without harm to the others,
// and no connection is lost between them.
func TestSingleListenerManyAccept(t *testing.T) {
	const waiters, connections = 6, 20
	inner := listenTCP(t)
	l := transport.SingleListener(inner)
	all, cancelAll := context.WithCancel(t.Context())
	defer cancelAll()

	var wg sync.WaitGroup
	accepted := make(chan transport.Session)
	for i := range waiters {
		wg.Go(func() {
			for {
				ctx, cancel := context.WithCancel(all)
				if i%2 == 0 {
					go cancel() // at some moment
				}
				s, err := l.Accept(ctx)
				cancel()
				switch {
				case err == nil:
					accepted <- s
				case !errors.Is(err, context.Canceled):
					t.Errorf("Accept: %v", err)
					return
				case all.Err() != nil:
					return
				}
			}
		})
	}
	for range connections {
		conn, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		s := <-accepted
		if s.RemoteAddr().String() != conn.LocalAddr().String() {
			t.Errorf("accepted %v, dialled %v", s.RemoteAddr(), conn.LocalAddr())
		}
		s.Close(0, "")
		conn.Close()
	}
	cancelAll()
	wg.Wait()
}

type brokenListener struct {
	*net.TCPListener
	err error
}

func (l *brokenListener) Accept() (net.Conn, error) { return nil, l.err }

// What Accept says reaches the server above, which has to know what to do.
func TestSingleListenerErrors(t *testing.T) {
	broken := &brokenListener{listenTCP(t), &net.OpError{Op: "accept", Err: syscall.EMFILE}}
	l := transport.SingleListener(broken)
	if _, err := l.Accept(t.Context()); err != broken.err {
		t.Errorf("Accept: %v, want %v as it is", err, broken.err)
	}
	// Also when the context has ended meanwhile.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Accept(ctx); err != broken.err {
		t.Errorf("Accept: %v, want %v as it is", err, broken.err)
	}
}
