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

// A writer encodes frames. The holder of the write lock sends the pending control frames
// before it unlocks, so a Pong never waits for the application's next Write.
type writer struct {
	conn   *Conn
	framed *framed

	mu      sync.Mutex
	rest    *[]byte     // of frames that a deadline truncated; sent before anything else; nil: none
	ended   bool        // CloseWrite was called
	writing atomic.Bool // the application's Write is running
	seq     uint32      // of the latest Ping

	queue      atomic.Uint32            // pending control frames, beside the coder's own
	blocked    atomic.Bool              // the last write failed, since the peer's window was full
	ping       atomic.Pointer[sentPing] // the latest Ping, until it is answered
	unanswered atomic.Int32             // number of Pings

	overridden bool       // a control frame's write deadline is set; guarded by Conn.deadlines
	deadline   *time.Time // the application's write deadline; nil: none; guarded likewise
}

// Bits of the queue.
const (
	pingFrame = 1 << iota
	goAwayFrame
)

type sentPing struct {
	seq uint32
	at  time.Time
}

// chunk is the most data that is sent in one frame. The header and the data are copied into
// one buffer, so that they travel in one packet.
const chunk = 16 << 10

var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, chunk+256)
	return &b
}}

// How long writing a control frame may block when the peer's window is full. The goroutine
// may have to read from this connection, or to ping 100,000 others.
const (
	controlTime = 10 * time.Millisecond
	blockedTime = 200 * time.Microsecond // if the window was full the last time, too
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

// writable returns an error if this direction has ended.
func (w *writer) writable() error {
	if e := w.conn.End(); e != nil {
		return e
	}
	if w.ended {
		return net.ErrClosed
	}
	return nil
}

// writeFrame sends the pending control frames and the first part of p in one write. It
// returns how many bytes of p are sent, or will be sent with the rest.
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
	w.conn.pingPossible(true) // also if the write blocks: then only the window is full
	n, err := w.send(buf)
	if err == nil {
		w.framed.coder.Sent(part)
		return len(part), nil
	}
	sent := max(0, n-control)
	switch {
	case header == 0: // the length of part was not announced
		w.framed.coder.Sent(part[:sent])
		w.keep(buf[min(n, control):control])
		return sent, err
	case sent == 0:
		w.keep(buf[n:control])
		return 0, err
	}
	w.framed.coder.Sent(part)
	w.keep(buf[n:]) // a truncated frame would garble all that follows
	return len(part), err
}

// send writes b to the stream.
func (w *writer) send(b []byte) (int, error) {
	n, err := w.conn.send(b)
	w.blocked.Store(err != nil)
	return n, err
}

// keep stores a copy of b as the rest.
func (w *writer) keep(b []byte) {
	w.rest = nil
	if len(b) > 0 {
		b = bytes.Clone(b)
		w.rest = &b
	}
}

// sendRest sends what remains of frames that an earlier deadline truncated.
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
		w.keep(end[n:]) // sent with the next beat
		return w.conn.writeError(err)
	}
	return nil
}

// pending reports whether control frames are pending.
func (w *writer) pending() bool {
	return w.framed.coder.Pending() || w.queue.Load() != 0
}

// appendPending appends the pending control frames, except those that the codec can't send
// now, say within a line.
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

// answered records the Pongs in seen and the RTT. It returns how many of the Pongs answer a
// Ping; a Ping is answered once.
func (w *writer) answered(seen codec.Seen) int {
	if seen.Pongs == 0 {
		return 0
	}
	n := min(int32(seen.Pongs), w.unanswered.Load())
	w.unanswered.Add(-n)
	if q := w.ping.Load(); q != nil && q.seq == seen.Seq && w.ping.CompareAndSwap(q, nil) {
		w.conn.state.setRTT(time.Since(q.at))
		w.unanswered.Store(0) // it answers the earlier Pings, too
	}
	return int(n)
}

// sendPending sends the coder's pending frames. If the write lock is held, its holder sends
// them.
func (w *writer) sendPending() {
	if w.framed.coder.Pending() && w.mu.TryLock() {
		w.unlock()
	}
}

// unlock sends the pending control frames and unlocks. It does so again if more of them were
// queued while the lock was held.
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

var errStopped = errors.New("liveness: the connection is closing")

// flush sends the rest of a frame and the pending control frames, within d. It returns the
// number of bytes of control frames; errStopped if the connection is closing.
func (w *writer) flush(d time.Duration) (n int, err error) {
	return retryIfStalled(d, func(until time.Time) (int, error) {
		if !w.overrideDeadline(until) {
			return 0, errStopped
		}
		defer w.restoreDeadline()
		return w.sendAll(w.appendPending)
	})
}

// retryIfStalled calls send with a deadline d from now, and again if the deadline passed
// while this process did not run: an unsent Hello would wait for the next write. It returns
// the sum of send's results, and its last error.
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

// sendAll sends the rest of a frame and the frames that add appends. It returns the number
// of bytes that add appended; what is not sent of them becomes the rest.
func (w *writer) sendAll(add func([]byte) []byte) (n int, err error) {
	held := w.rest == nil && w.blocked.Load() // TLS may have buffered part of an earlier write
	if err := w.sendRest(); err != nil {
		if !w.ended {
			w.conn.pingPossible(true) // only the peer's window is full
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

// overrideDeadline replaces the application's write deadline for a control frame. It returns
// false if the connection is closing.
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

// restoreDeadline restores the application's write deadline.
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

// setDeadline sets the application's write deadline.
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
		return nil // restoreDeadline applies it
	}
	return w.conn.stream.SetWriteDeadline(t)
}

// sendPing queues a Ping and sends it. It returns false if that failed now; the Ping stays
// in the queue.
func (w *writer) sendPing() bool {
	w.queue.Or(pingFrame)
	return w.sendControl()
}

// sendControl sends the pending control frames, or leaves that to the holder of the write
// lock. It returns false if they could not be sent.
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
		w.mu.Unlock() // the rest goes out with the next write
	} else {
		w.unlock()
	}
	return n > 0 && err == nil
}
