package transport

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// SingleListener makes a [Single] of every connection that inner accepts. Inner's
// errors are returned as they are.
//
// A call of inner.Accept outlives the Accept whose context has ended; the
// connection that it returns goes to the next Accept, or is closed by Close.
// Close waits for that call, which inner.Close has to end, as net.Listener says.
func SingleListener(inner net.Listener) Listener {
	l := &singleListener{inner: inner, next: make(chan *accepted, 1), closed: make(chan struct{})}
	l.next <- nil
	return l
}

type singleListener struct {
	inner  net.Listener
	next   chan *accepted // empty while inner.Accept is called; nil: nobody has called it
	closed chan struct{}
	once   sync.Once // closes
}

// An accepted is what inner.Accept returned.
type accepted struct {
	conn net.Conn
	err  error
}

// lastLook is how long Accept goes on when its context has ended: a connection
// that is there already goes before that.
const lastLook = 5 * time.Millisecond

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
			done, over = nil, time.After(lastLook)
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
