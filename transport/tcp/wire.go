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

// A wire is the connection below a *tls.Conn. If a deadline truncates a record, Write
// still returns success to crypto/tls, and the wire keeps the rest of the record.
type wire struct {
	net.Conn                    // the stream of the plain connection
	poll     transport.Pollable // the same, if it is Pollable; otherwise nil
	parked   parked             // the plain connection, if it is Pollable

	nonblocking bool // Read must not block; guarded by the tlsConn's readLock
	failed      bool // the handshake did, and this end has sent an alert that the fault is its own

	// buffering is set when the handshake is done. Before that a timeout is returned to
	// crypto/tls, because no later Write may come that sends the rest.
	buffering atomic.Bool

	mu     sync.Mutex
	unsent []byte    // sent before anything else
	since  time.Time // when the last attempt began that could send any of it

	deadlineMu sync.Mutex // not mu, which a Write holds while it blocks
	deadline   time.Time
}

// maxUnsent bounds unsent: the records that crypto/tls makes of maxRecord bytes, and some
// alerts and answers to key updates.
const maxUnsent = 2 * maxRecord

var errTooMuchUnsent = errors.New("the peer demands answers and does not read them")

func newWire(conn net.Conn) *wire {
	// transport.Single translates errors and closes as is needed below TLS as well.
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

// A parked is a Pollable connection that can be made to wake its waker when there is
// decrypted data above it.
type parked interface {
	transport.Pollable
	recheck()
}

func (w *wire) Read(p []byte) (int, error) {
	if w.nonblocking {
		return w.poll.TryRead(p)
	}
	return w.Conn.Read(p)
}

func (w *wire) NetConn() net.Conn { return w.Conn }

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.buffering.Load() && isOwnFault(p) {
		w.failed = true
	}
	if len(w.unsent) > 0 {
		if len(w.unsent)+len(p) > maxUnsent {
			return 0, &transport.CloseError{Origin: transport.Lost, Fault: transport.WriteBlocked, Err: errTooMuchUnsent}
		}
		w.unsent = append(w.unsent, p...)
		if err := w.send(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, err
		}
		return len(p), nil
	}
	began := time.Now()
	n, err := w.Conn.Write(p)
	if w.buffering.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
		w.unsent, w.since = bytes.Clone(p[n:]), began
		return len(p), nil
	}
	return n, err
}

// isOwnFault reports whether record is an alert, in plain text, which says that the end
// that sends it has failed, or has no certificate for the name (RFC 8446, section 6.2).
func isOwnFault(record []byte) bool {
	const (
		alert            = 21
		internalError    = 80
		unrecognizedName = 112
	)
	return len(record) == 7 && record[0] == alert && (record[6] == internalError || record[6] == unrecognizedName)
}

// flush sends what is unsent. It returns os.ErrDeadlineExceeded if it can't send all.
func (w *wire) flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.unsent) == 0 {
		return nil
	}
	return w.send()
}

// blockedFor returns how long nothing of what is unsent could be sent; 0 if nothing is
// unsent. It does not wait for a Write under way, such as an answer to a key update.
func (w *wire) blockedFor() time.Duration {
	if !w.mu.TryLock() {
		return 0
	}
	defer w.mu.Unlock()
	if len(w.unsent) == 0 {
		return 0
	}
	return time.Since(w.since)
}

func (w *wire) send() error {
	began := time.Now()
	n, err := w.Conn.Write(w.unsent)
	if n > 0 {
		w.unsent, w.since = w.unsent[n:], began
	}
	return err
}

// expired reports whether the write deadline has passed.
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

// extend moves the deadline to closeNotifyTimeout from now if it is earlier, until
// restore.
func (w *wire) extend() {
	w.deadlineMu.Lock()
	defer w.deadlineMu.Unlock()
	if end := time.Now().Add(closeNotifyTimeout); !w.deadline.IsZero() && w.deadline.Before(end) {
		w.Conn.SetWriteDeadline(end)
	}
}

func (w *wire) restore() {
	w.deadlineMu.Lock()
	defer w.deadlineMu.Unlock()
	w.Conn.SetWriteDeadline(w.deadline)
}

// SetWriteDeadline ignores crypto/tls, which sets five seconds for close_notify and then
// lets every later write fail. Only the application sets the deadline, by
// setWriteDeadline.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }
