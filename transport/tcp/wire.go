package tcp

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livenet/livenet/transport"
)

// A wire is what a *tls.Conn writes its records to. One that a deadline cuts
// off is written all the same, as far as crypto/tls is told; the wire keeps the
// rest of it.
type wire struct {
	net.Conn                    // the stream of the plain connection
	poll     transport.Pollable // the same; nil: it is not
	parked   parked             // that connection, if it is pollable

	try bool // Read must not wait; its callers take turns

	// keep is set when the handshake is done. Until then a deadline has to be
	// the error that it is, because no Write may follow that sends the rest.
	keep atomic.Bool

	mu    sync.Mutex
	rest  []byte    // ahead of whatever is written next
	since time.Time // since when nothing of it has found room

	deadlineMu sync.Mutex // may be had while a Write holds mu
	deadline   time.Time
}

// maxRest bounds the rest: the records that crypto/tls makes of maxRecord
// bytes, and some alerts and key updates in answer to the peer's.
const maxRest = 2 * maxRecord

var errTooMuchRest = errors.New("the peer asks for answers that it does not read")

func newWire(conn net.Conn) *wire {
	// A single has just what is wanted of the connection beneath TLS as well:
	// its errors, and its way to close.
	st, err := transport.Single(conn).OpenStream(context.Background())
	if err != nil {
		panic(err) // the first stream is always there
	}
	w := &wire{Conn: st}
	if w.parked, _ = conn.(parked); w.parked != nil {
		w.poll, _ = transport.As[transport.Pollable](st)
	}
	return w
}

// A parked is a connection that is Pollable, and whose waker can be told of what
// lies above it.
type parked interface {
	transport.Pollable
	lookAgain()
}

func (w *wire) Read(p []byte) (int, error) {
	if w.try {
		return w.poll.TryRead(p)
	}
	return w.Conn.Read(p)
}

func (w *wire) NetConn() net.Conn { return w.Conn }

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.rest) > 0 {
		if len(w.rest)+len(p) > maxRest {
			return 0, &transport.CloseError{Origin: transport.Lost, Fault: transport.WriteBlocked, Err: errTooMuchRest}
		}
		w.rest = append(w.rest, p...)
		if err := w.send(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, err
		}
		return len(p), nil
	}
	began := time.Now()
	n, err := w.Conn.Write(p)
	if w.keep.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
		w.rest, w.since = bytes.Clone(p[n:]), began
		return len(p), nil
	}
	return n, err
}

// flush sends the rest, if there is one, and fails with os.ErrDeadlineExceeded
// if it cannot.
func (w *wire) flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.rest) == 0 {
		return nil
	}
	return w.send()
}

// stuck is for how long the rest has found no room, if there is one. It does not wait
// for a Write that is under way, of an answer to the peer's key update for instance.
func (w *wire) stuck() time.Duration {
	if !w.mu.TryLock() {
		return 0
	}
	defer w.mu.Unlock()
	if len(w.rest) == 0 {
		return 0
	}
	return time.Since(w.since)
}

func (w *wire) send() error {
	began := time.Now()
	n, err := w.Conn.Write(w.rest)
	if n > 0 {
		w.rest, w.since = w.rest[n:], began
	}
	return err
}

// expired says that a Write would fail at once.
func (w *wire) expired() bool {
	w.deadlineMu.Lock()
	defer w.deadlineMu.Unlock()
	return !w.deadline.IsZero() && !time.Now().Before(w.deadline)
}

func (w *wire) setWriteDeadline(t time.Time) error {
	w.deadlineMu.Lock()
	defer w.deadlineMu.Unlock()
	w.deadline = t
	return w.Conn.SetWriteDeadline(t)
}

// extend lets what is to be said at the end be written for as long as farewell,
// though the deadline is sooner or has passed, until restore.
func (w *wire) extend() {
	w.deadlineMu.Lock()
	defer w.deadlineMu.Unlock()
	if end := time.Now().Add(farewell); !w.deadline.IsZero() && w.deadline.Before(end) {
		w.Conn.SetWriteDeadline(end)
	}
}

func (w *wire) restore() {
	w.deadlineMu.Lock()
	defer w.deadlineMu.Unlock()
	w.Conn.SetWriteDeadline(w.deadline)
}

// SetWriteDeadline is crypto/tls asking for five seconds to send close_notify,
// and none for anything after it. Here the deadline is its user's alone.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }
