package transport

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// SingleListener makes a [Single] of every connection that inner accepts.
// Inner is a *net.TCPListener, a *net.UnixListener, or anything else whose
// Accept can be interrupted with a deadline; the deadline is SingleListener's
// from now on. Its errors are returned as they are.
func SingleListener(inner DeadlineListener) Listener {
	return &singleListener{inner: inner, turn: make(chan struct{}, 1)}
}

// A DeadlineListener is a [net.Listener] whose Accept obeys a deadline.
type DeadlineListener interface {
	net.Listener
	SetDeadline(time.Time) error
}

type singleListener struct {
	inner DeadlineListener
	turn  chan struct{} // held by the one Accept that the deadline is for
	once  sync.Once
}

// lastLook is how long Accept goes on when its context has ended. A deadline in
// the past would keep it from looking for a connection that is there already.
const lastLook = 5 * time.Millisecond

func (l *singleListener) Accept(ctx context.Context) (Session, error) {
	if err := l.takeTurn(ctx); err != nil {
		return nil, err
	}
	defer func() { <-l.turn }()

	// A deadline interrupts the waiting without a goroutine for each Accept,
	// and a connection that comes at that moment stays in the kernel's queue.
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		l.inner.SetDeadline(time.Now().Add(lastLook))
		close(interrupted)
	})
	conn, err := l.inner.Accept()
	if !stop() {
		<-interrupted
		l.inner.SetDeadline(time.Time{})
	}
	switch {
	case err == nil:
		return Single(conn), nil
	case ctx.Err() != nil && isTimeout(err):
		return nil, ctx.Err()
	}
	return nil, err
}

// takeTurn waits for its turn rather than for the context, if it has a choice.
func (l *singleListener) takeTurn(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
		return nil
	default:
	}
	select {
	case l.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *singleListener) Addr() net.Addr { return l.inner.Addr() }

func (l *singleListener) Close() (err error) {
	l.once.Do(func() { err = l.inner.Close() })
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
