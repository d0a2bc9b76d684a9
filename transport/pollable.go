package transport

import "net"

// A Pollable stream, or connection, can be read without waiting, and can tell
// when there is something to read: whoever serves a great many of them needs
// neither a goroutine nor a buffer for those that are idle.
type Pollable interface {
	// TryRead is Read, except that it fails with [ErrWouldBlock] where Read
	// would wait, and so has nothing to do with deadlines. Only a handshake that
	// is still to be done is waited for.
	TryRead(p []byte) (n int, err error)

	// WakeOnRead has w.Wake called, once, when TryRead may have something to say
	// again: input, the peer's end, an error, or this end's Close. It is to be
	// called after TryRead has failed with ErrWouldBlock, or before its first
	// call, and not again before Wake.
	WakeOnRead(w Waker)
}

// An Acceptor is a session whose streams can be accepted without a goroutine
// that waits for them. AcceptStream never waits if its context has ended; an
// Acceptor can tell when it is worth another call.
type Acceptor interface {
	// WakeOnStream has w.Wake called, once, when AcceptStream may have something
	// to say again: a stream that the peer opened, or the session's end. It is to
	// be called after AcceptStream has failed with its context's error, or before
	// its first call, and not again before Wake.
	WakeOnStream(w Waker)
}

// A Waker is what is to be woken. Wake must return soon: one goroutine may be
// waking many.
type Waker interface{ Wake() }

// ErrWouldBlock is TryRead's error when there is nothing to read now.
var ErrWouldBlock error = wouldBlock{}

type wouldBlock struct{}

func (wouldBlock) Error() string { return "transport: nothing to read" }

// Timeout and Temporary make a net.Error of it: layers in between, such as
// crypto/tls, must not take it for the connection's end.
func (wouldBlock) Timeout() bool   { return false }
func (wouldBlock) Temporary() bool { return true }

// A singlePoll is a single whose conn is Pollable.
type singlePoll single

func (p *singlePoll) TryRead(b []byte) (int, error) {
	n, err := p.conn.(Pollable).TryRead(b)
	if err != nil && err != ErrWouldBlock {
		err = (*single)(p).readError(err)
	}
	return n, err
}

func (p *singlePoll) WakeOnRead(w Waker) { p.conn.(Pollable).WakeOnRead(w) }

// A Waiter is a stream whose input can be waited for without a buffer for it.
type Waiter interface {
	// WaitRead returns when Read would not wait, or fails as Read would.
	WaitRead() error
}

// Unwrap gives a single's stream the abilities of its conn.
func (st *singleStream) Unwrap() any {
	switch st.conn.(type) {
	case Pollable:
		return (*singlePoll)(st)
	case *net.TCPConn:
		if canPeek {
			return (*singleWait)(st)
		}
	}
	return nil
}

// A singleWait is a single whose conn is the kernel's own.
type singleWait single

func (w *singleWait) WaitRead() error {
	err := waitRead(w.conn.(*net.TCPConn))
	if err != nil || w.cause.Load() != nil { // closing begins by ending the input
		err = (*single)(w).readError(err)
	}
	return err
}
