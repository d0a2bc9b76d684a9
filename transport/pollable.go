package transport

import (
	"net"
	"syscall"
)

// A Pollable is a stream or connection with a non-blocking read and a notification when
// it is readable. A server of many idle streams needs neither a goroutine nor a buffer
// for each of them.
type Pollable interface {
	// TryRead is Read, except that it returns [ErrWouldBlock] where Read would block.
	// It ignores deadlines. It blocks only for a handshake that is not yet done.
	TryRead(p []byte) (n int, err error)

	// WakeOnRead calls w.Wake once when TryRead may return something other than
	// ErrWouldBlock: data, EOF, an error, or this end's Close. Call it after TryRead has
	// returned ErrWouldBlock or before the first TryRead, and not again before Wake.
	WakeOnRead(w Waker)
}

// An Acceptor is a session that notifies when a stream can be accepted, so that no
// goroutine has to wait in AcceptStream. Call AcceptStream with a context that has ended:
// then it never blocks.
type Acceptor interface {
	// WakeOnStream calls w.Wake once when the peer has opened a stream or the session
	// has ended. Call it after AcceptStream has returned its context's error or before
	// the first AcceptStream, and not again before Wake.
	WakeOnStream(w Waker)
}

// A Waker is notified by WakeOnRead and WakeOnStream. Wake must not block: one goroutine
// calls it for many streams.
type Waker interface{ Wake() }

// ErrWouldBlock is returned by TryRead when there is nothing to read now.
var ErrWouldBlock error = wouldBlock{}

type wouldBlock struct{}

func (wouldBlock) Error() string { return "transport: nothing to read" }

// Timeout and Temporary make it a net.Error, so that crypto/tls does not treat it as the
// end of the connection.
func (wouldBlock) Timeout() bool   { return false }
func (wouldBlock) Temporary() bool { return true }

// A singlePoll is the Pollable of a single whose conn is Pollable.
type singlePoll single

func (p *singlePoll) TryRead(b []byte) (int, error) {
	n, err := p.conn.(Pollable).TryRead(b)
	if err != nil && err != ErrWouldBlock {
		err = (*single)(p).readError(err)
	}
	return n, err
}

func (p *singlePoll) WakeOnRead(w Waker) { p.conn.(Pollable).WakeOnRead(w) }

// A Waiter is a stream on which a caller can wait for input without providing a buffer.
type Waiter interface {
	// WaitRead returns nil when Read would not block, or the error that Read would return.
	WaitRead() error
}

// A socket is a connection of the kernel's.
type socket interface {
	net.Conn
	syscall.Conn
}

// A Plain is a stream that is a bare TCP connection: no TLS, no multiplexing, no buffer.
type Plain interface {
	// TCPConn returns the connection, which carries exactly the stream's bytes.
	TCPConn() *net.TCPConn
}

// Unwrap returns the Pollable, the Plain or the Waiter of conn, for [As].
func (st *singleStream) Unwrap() any {
	switch st.conn.(type) {
	case Pollable:
		return (*singlePoll)(st)
	case *net.TCPConn:
		if canPeek {
			return (*singleTCP)(st)
		}
	case *net.UnixConn:
		if canPeek {
			return (*singleWait)(st)
		}
	}
	return nil
}

// A singleTCP is a single whose conn is a *net.TCPConn.
type singleTCP single

func (t *singleTCP) TCPConn() *net.TCPConn { return t.conn.(*net.TCPConn) }
func (t *singleTCP) WaitRead() error       { return (*singleWait)(t).WaitRead() }

// A singleWait is the Waiter of a single whose conn is a socket.
type singleWait single

func (w *singleWait) WaitRead() error {
	err := waitRead(w.conn.(socket))
	if err != nil || w.cause.Load() != nil { // Close shuts down the input first, which wakes this
		err = (*single)(w).readError(err)
	}
	return err
}
