package liveness

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livenet/livenet/codec"
)

// A writer frames the application's data. Control frames wait until the write lock
// is free, and whoever holds it sends them before letting go, so no answer to a Ping
// waits for the application to write.
type writer struct {
	conn   *Conn
	framed *framed

	mu      sync.Mutex
	rest    *[]byte     // of frames that a deadline cut short: it is sent before anything else; nil: nothing
	ended   bool        // CloseWrite was called
	writing atomic.Bool // the application is
	seq     uint32      // of the latest Ping

	queue      atomic.Uint32            // the control frames to be sent, beside the coder's own
	blocked    atomic.Bool              // the peer took nothing when last tried
	ping       atomic.Pointer[sentPing] // the latest Ping, until it is answered
	unanswered atomic.Int32             // Pings

	overridden bool       // a control frame has a deadline of its own for now; guarded by the Conn's deadlines
	deadline   *time.Time // for writing, as the application set it; nil: none; likewise
}

// Control frames in the queue.
const (
	pingFrame = 1 << iota
	goAwayFrame
)

// A sentPing is a Ping that was sent.
type sentPing struct {
	seq uint32
	at  time.Time
}

// chunk is the most data in a frame that we send. A header and the data that follows
// are copied into one buffer, so that they travel in one packet.
const chunk = 16 << 10

var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, chunk+256)
	return &b
}}

// How long a control frame may take that the peer's window has no room for. Whoever
// sends it may be reading for this connection, or sending Pings for 100,000 others.
const (
	controlTime = 10 * time.Millisecond
	blockedTime = 200 * time.Microsecond // where there was no room the last time
)

// write sends p in frames.
func (w *writer) write(p []byte) (n int, err error) {
	w.mu.Lock()
	defer w.unlock()
	if err := w.writable(); err != nil || len(p) == 0 {
		return 0, err
	}
	if err := w.sendRest(); err != nil {
		return 0, w.conn.writeError(err)
	}
	w.writing.Store(true)
	defer w.writing.Store(false)
	w.framed.coder.Begin()
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	for n < len(p) {
		m, err := w.writeFrame((*b)[:0], p[n:])
		n += m
		if err != nil {
			return n, w.conn.writeError(err)
		}
	}
	w.conn.sentBeat(false)
	return n, nil
}

// writable is the error of a direction that has ended.
func (w *writer) writable() error {
	if e := w.conn.End(); e != nil {
		return e
	}
	if w.ended {
		return net.ErrClosed
	}
	return nil
}

// writeFrame sends the first part of p, and the pending control frames in front of
// it: they cost no write of their own.
func (w *writer) writeFrame(buf, p []byte) (int, error) {
	part := p[:min(len(p), chunk)]
	buf = w.appendPending(buf)
	control := len(buf)
	buf = w.framed.coder.AppendDataHeader(buf, part)
	header := len(buf) - control
	if len(buf) == 0 {
		buf = part
	} else {
		buf = append(buf, part...)
	}
	w.conn.pingPossible(true) // if the peer does not take this, that is another matter
	n, err := w.send(buf)
	if err == nil {
		w.framed.coder.Sent(part)
		return len(part), nil
	}
	sent := max(0, n-control)
	switch {
	case header == 0: // nothing says how long part was to be
		w.framed.coder.Sent(part[:sent])
		w.keep(buf[min(n, control):control])
		return sent, err
	case sent == 0:
		w.keep(buf[n:control])
		return 0, err
	}
	w.framed.coder.Sent(part)
	w.keep(buf[n:]) // half a frame would garble all that follows
	return len(part), err
}

// send writes b to the stream.
func (w *writer) send(b []byte) (int, error) {
	n, err := w.conn.send(b)
	w.blocked.Store(err != nil)
	return n, err
}

// keep makes b the rest that is to be sent before anything else.
func (w *writer) keep(b []byte) {
	w.rest = nil
	if len(b) > 0 {
		b = bytes.Clone(b)
		w.rest = &b
	}
}

// sendRest sends what an earlier deadline cut off.
func (w *writer) sendRest() error {
	if w.rest == nil {
		return nil
	}
	n, err := w.send(*w.rest)
	w.keep((*w.rest)[n:])
	return err
}

// closeWrite ends this direction's data.
func (w *writer) closeWrite() error {
	w.mu.Lock()
	defer w.unlock()
	if err := w.writable(); err != nil {
		return err
	}
	if err := w.sendRest(); err != nil {
		return w.conn.writeError(err)
	}
	w.ended = true
	w.conn.state.dataEnded(Local)
	end, ok := w.framed.coder.AppendEnd(nil)
	if !ok {
		w.conn.pingPossible(false)
		return closeWrite(w.conn.stream)
	}
	if n, err := w.send(end); err != nil {
		w.keep(end[n:]) // it is sent with the next beat
		return w.conn.writeError(err)
	}
	return nil
}

// pending reports whether control frames wait to be sent.
func (w *writer) pending() bool {
	return w.framed.coder.Pending() || w.queue.Load() != 0
}

// appendPending appends the control frames that wait, as far as there is a place for
// them.
func (w *writer) appendPending(b []byte) []byte {
	b = w.framed.coder.AppendPending(b)
	queue := w.queue.Load()
	if queue&goAwayFrame != 0 {
		w.queue.And(^uint32(goAwayFrame))
		b, _ = w.framed.coder.AppendGoAway(b, w.conn.retryAfter())
	}
	if queue&pingFrame != 0 {
		b = w.appendPing(b)
	}
	return b
}

func (w *writer) appendPing(b []byte) []byte {
	if w.ended && w.conn.dialed != nil && w.conn.dialed.pingSince.Load() == cannotPing {
		return b
	}
	b, ok := w.framed.coder.AppendPing(b, w.seq+1)
	w.conn.pingPossible(ok)
	if ok {
		w.seq++
		w.queue.And(^uint32(pingFrame))
		w.unanswered.Add(1)
		w.ping.Store(&sentPing{w.seq, time.Now()})
		w.conn.sentBeat(true)
	}
	return b
}

// answered takes note of the Pongs in seen, and returns how many of them answer
// Pings. A Ping is answered once.
func (w *writer) answered(seen codec.Seen) int {
	if seen.Pongs == 0 {
		return 0
	}
	n := min(int32(seen.Pongs), w.unanswered.Load())
	w.unanswered.Add(-n)
	if q := w.ping.Load(); q != nil && q.seq == seen.Seq && w.ping.CompareAndSwap(q, nil) {
		w.conn.state.setRTT(time.Since(q.at))
		w.unanswered.Store(0) // one Pong answers the Pings before it, too
	}
	return int(n)
}

// sendPending sends the control frames that wait, unless the write lock is taken:
// whoever holds it does.
func (w *writer) sendPending() {
	if w.framed.coder.Pending() && w.mu.TryLock() {
		w.unlock()
	}
}

// unlock sends the control frames that wait and lets go of the write lock, until
// none is left that somebody found the lock taken for.
func (w *writer) unlock() {
	for {
		stuck := false
		if w.pending() {
			n, err := w.flush(controlTime)
			stuck = n == 0 || err != nil
		}
		w.mu.Unlock()
		if stuck || !w.pending() || !w.mu.TryLock() {
			return
		}
	}
}

// errStopped is flush's error when the connection is closing.
var errStopped = errors.New("liveness: the connection is closing")

// flush sends the rest of a frame and the control frames that wait, within d. It
// returns how many bytes of control frames there were.
func (w *writer) flush(d time.Duration) (n int, err error) {
	return retryIfStalled(d, func(until time.Time) (int, error) {
		if !w.overrideDeadline(until) {
			return 0, errStopped
		}
		defer w.restoreDeadline()
		return w.sendAll(w.appendPending)
	})
}

// retryIfStalled calls send with a deadline d from now, and again if that passed because
// this process did not run: nobody else would send a Hello that is left over.
func retryIfStalled(d time.Duration, send func(until time.Time) (int, error)) (n int, err error) {
	for range 5 {
		until := time.Now().Add(d)
		var k int
		k, err = send(until)
		n += k
		if err == nil || !timedOut(err) || time.Since(until) < DefaultTick/2 {
			break
		}
		d = min(d, controlTime)
	}
	return n, err
}

// sendAll sends the rest of a frame and what add appends.
func (w *writer) sendAll(add func([]byte) []byte) (n int, err error) {
	held := w.rest == nil && w.blocked.Load() // TLS may hold back part of what it has taken
	if err := w.sendRest(); err != nil {
		if !w.ended {
			w.conn.pingPossible(true) // the peer only has no room for it
		}
		return 0, err
	}
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	frames := add((*b)[:0])
	if len(frames) == 0 && !held {
		return 0, nil
	}
	k, err := w.send(frames)
	if err != nil {
		w.keep(frames[k:])
	}
	return len(frames), err
}

// overrideDeadline sets a deadline for writing over the application's. It returns false if the
// connection is closing.
func (w *writer) overrideDeadline(until time.Time) bool {
	w.conn.deadlines.Lock()
	defer w.conn.deadlines.Unlock()
	if w.conn.End() != nil {
		return false
	}
	w.overridden = true
	w.conn.stream.SetWriteDeadline(until)
	return true
}

// restoreDeadline gives the application's deadline back.
func (w *writer) restoreDeadline() {
	w.conn.deadlines.Lock()
	defer w.conn.deadlines.Unlock()
	w.overridden = false
	if w.conn.End() == nil {
		w.applyDeadline()
	}
}

func (w *writer) applyDeadline() {
	var t time.Time
	if w.deadline != nil {
		t = *w.deadline
	}
	w.conn.stream.SetWriteDeadline(t)
}

// setDeadline is SetWriteDeadline.
func (w *writer) setDeadline(t time.Time) error {
	w.conn.deadlines.Lock()
	defer w.conn.deadlines.Unlock()
	if w.conn.End() != nil {
		return net.ErrClosed
	}
	w.deadline = nil
	if !t.IsZero() {
		w.deadline = &t
	}
	if w.overridden {
		return nil // takes effect when the control frame is sent
	}
	return w.conn.stream.SetWriteDeadline(t)
}

// sendPing asks the peer for a sign of life. It returns false if no Ping could be sent
// now.
func (w *writer) sendPing() bool {
	w.queue.Or(pingFrame)
	return w.sendControl()
}

// sendControl sends the control frames in the queue, or has whoever holds the write
// lock do so.
func (w *writer) sendControl() bool {
	if !w.mu.TryLock() {
		return true
	}
	d := controlTime
	if w.blocked.Load() && w.conn.dialed == nil {
		d = blockedTime
	}
	n, err := w.flush(d)
	if w.blocked.Load() {
		w.mu.Unlock() // what waits is for whoever sends next
	} else {
		w.unlock()
	}
	return n > 0 && err == nil
}
