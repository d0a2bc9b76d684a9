package transport

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// SingleListener returns a Listener whose sessions are the connections that inner
// accepts, each wrapped by [Single]. Errors of inner.Accept are returned unchanged.
//
// When Accept's context ends, its call of inner.Accept goes on. The connection which that
// returns goes to the next Accept, or is closed by Close. Close waits for that call:
// inner.Close has to unblock it, as net.Listener requires.
func SingleListener(inner net.Listener) Listener {
	l := &singleListener{inner: inner, next: make(chan *accepted, 1), closed: make(chan struct{})}
	l.next <- nil
	return l
}

type singleListener struct {
	inner  net.Listener
	next   chan *accepted // empty during a call of inner.Accept; holds nil if there is no call
	closed chan struct{}
	once   sync.Once // closes
}

// accepted is the result of one inner.Accept.
type accepted struct {
	conn net.Conn
	err  error
}

// acceptGrace is how long Accept goes on after its context has ended, so that it returns a
// connection that is already in the kernel's queue.
const acceptGrace = 5 * time.Millisecond

func (l *singleListener) Accept(ctx context.Context) (Session, error) {
	done := ctx.Done()
	var over <-chan time.Time
	for {
		select {
		case a := <-l.next:
			if a == nil {
				go func() {
					conn, err := l.inner.Accept()
					l.next <- &accepted{conn, err}
				}()
				continue
			}
			l.next <- nil
			if a.err != nil {
				return nil, a.err
			}
			return Single(a.conn), nil
		case <-done:
			done, over = nil, time.After(acceptGrace)
		case <-over:
			return nil, ctx.Err()
		case <-l.closed:
			return nil, &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: net.ErrClosed}
		}
	}
}

func (l *singleListener) Addr() net.Addr { return l.inner.Addr() }

func (l *singleListener) Close() (err error) {
	l.once.Do(func() {
		close(l.closed)
		err = l.inner.Close()
		if a := <-l.next; a != nil && a.conn != nil {
			a.conn.Close()
		}
	})
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
