package transport_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

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

// Several calls of Accept may wait. Cancelling some of them affects no other, and no
// connection is lost.
func TestSingleListenerConcurrentAccepts(t *testing.T) {
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

// Accept returns inner's errors unchanged, so that a server can decide by their type.
func TestSingleListenerReturnsErrorsUnchanged(t *testing.T) {
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

// A pipeListener accepts connections sent to it. It has no deadline; Close closes the
// channel.
type pipeListener chan net.Conn

func (l pipeListener) Accept() (net.Conn, error) {
	conn, ok := <-l
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (l pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }
func (l pipeListener) Close() error   { close(l); return nil }

// Accept returns when its context ends although inner.Accept can't be interrupted. The
// connection that inner.Accept returns later goes to the next Accept, or is closed.
func TestSingleListenerAcceptReturnsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := make(pipeListener)
		l := transport.SingleListener(inner)
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		dial := func() (peer net.Conn) {
			here, peer := net.Pipe()
			inner <- here // inner's Accept is waiting for it
			return peer
		}
		giveUp := func() {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			began := time.Now()
			_, err := l.Accept(ctx)
			if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > time.Hour+time.Second {
				t.Errorf("Accept: %v after %v", err, took)
			}
		}

		giveUp()
		peer := dial()
		s, err := l.Accept(cancelled)
		if err != nil {
			t.Fatalf("Accept of what had come: %v", err)
		}
		s.Close(0, "")
		if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the accepted peer reads %v, want EOF", err)
		}

		giveUp()
		peer = dial()
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the peer that nobody accepted reads %v, want EOF", err)
		}
		for _, ctx := range []context.Context{t.Context(), cancelled} {
			if _, err := l.Accept(ctx); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Accept after Close: %v, want net.ErrClosed", err)
			}
		}
	})
}
