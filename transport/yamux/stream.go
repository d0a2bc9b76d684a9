package yamux

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/livenet/livenet/transport"
)

// chunk is how much of a Write goes to yamux at once. Between chunks it looks
// whether the wire has room.
const chunk = 16 << 10

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// A stream makes a net.Conn of a yamux stream. That one has deadlines for
// waiting on the peer only, and these come too late if there is something to
// read; its Close ends the writing half alone, and wakes nobody who reads.
type stream struct {
	inner   *yamux.Stream
	session *session
	entry   *entry // what the wire knows of it

	mu            sync.Mutex
	readDeadline  time.Time
	writeDeadline time.Time
	finished      bool                  // no more writing: CloseWrite, Close or Reset
	ended         *transport.CloseError // Close or Reset, whichever was first
	interrupted   bool                  // the session ended: deadlines stay in the past
	wake          chan struct{}         // for a Write that waits for room; nil if none ever did

	// reading is held while something reads from yamux, where two that do so at
	// once lock each other out for good.
	reading sync.Mutex

	// writing is held while Write runs, and guards cut: that the end of the
	// stream stopped one in the middle.
	writing sync.Mutex
	cut     bool
}

var (
	_ transport.Stream   = (*stream)(nil)
	_ transport.Waiter   = (*stream)(nil)
	_ transport.Pollable = (*stream)(nil)
)

// Read returns what arrived before the session ended, unless this end ended it.
func (s *stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, s.refusal(true)
	}
	return s.read(p)
}

// WaitRead reads nothing: yamux waits for input before it looks how much is
// wanted.
func (s *stream) WaitRead() error {
	_, err := s.read(nil)
	return err
}

// TryRead asks first what has arrived, for yamux would wait.
func (s *stream) TryRead(p []byte) (int, error) {
	if !s.entry.arrivals.readable() {
		return 0, transport.ErrWouldBlock
	}
	s.reading.Lock() // whoever reads has something to read
	defer s.reading.Unlock()
	if !s.entry.arrivals.readable() {
		return 0, transport.ErrWouldBlock
	}
	if err := s.refusal(false); err != nil || len(p) == 0 {
		return 0, err
	}
	return s.readInner(p)
}

// WakeOnRead has w woken by the session's receiving goroutine, or by whoever ends
// the stream.
func (s *stream) WakeOnRead(w transport.Waker) { s.entry.arrivals.wake(w) }

func (s *stream) read(p []byte) (int, error) {
	s.reading.Lock() // not for long: what ends a Read ends the one before too
	defer s.reading.Unlock()
	if err := s.refusal(true); err != nil {
		return 0, err
	}
	return s.readInner(p)
}

// readInner is called with reading held.
func (s *stream) readInner(p []byte) (int, error) {
	n, err := s.inner.Read(p)
	if n > 0 {
		s.entry.arrivals.went(n)
		s.session.wire.sweeper.later()
	}
	if n > 0 || err == nil {
		return n, nil
	}
	return 0, s.readError(err)
}

// refusal returns why there is no reading, whatever there may be to read.
// Deadlines are for those who may wait.
func (s *stream) refusal(deadlines bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != nil {
		return s.ended
	}
	if s.interrupted {
		if cause := s.session.cause(); errors.Is(cause, net.ErrClosed) {
			return cause
		}
		return nil
	}
	if deadlines && passed(s.readDeadline) {
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (s *stream) readError(err error) error {
	s.mu.Lock()
	ended, interrupted := s.ended, s.interrupted
	s.mu.Unlock()
	switch {
	case ended != nil:
		return ended
	case err == io.EOF && (s.session.wire.table.finished(s.entry) || !s.session.mux.IsClosed()):
		return io.EOF // and not what yamux makes of a lost connection
	case errors.Is(err, yamux.ErrTimeout) && !interrupted:
		return os.ErrDeadlineExceeded
	}
	return s.peerError(err)
}

// peerError is for the errors that end a stream and are not this end's doing.
func (s *stream) peerError(err error) error {
	switch {
	case errors.Is(err, yamux.ErrConnectionReset):
		if reset := s.wasReset(); reset != nil {
			return reset
		}
		return &transport.CloseError{Origin: transport.Peer, Reset: true}
	case !s.session.mux.IsClosed():
		return err
	}
	return s.session.cause()
}

func (s *stream) Write(p []byte) (n int, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	for err = s.waitForRoom(); err == nil && len(p) > 0; err = s.waitForRoom() {
		var m int
		m, err = s.inner.Write(p[:min(chunk, len(p))])
		n, p = n+m, p[m:]
		if err != nil {
			err = s.writeError(err)
			break
		}
		if len(p) == 0 {
			return n, nil
		}
	}
	if n > 0 && err != nil && s.isFinished() {
		s.cut = true
	}
	return n, err
}

// waitForRoom waits until the wire has room, and returns why not to write.
func (s *stream) waitForRoom() error {
	for {
		deadline, err := s.writable()
		if err != nil {
			return err
		}
		room := s.session.wire.out.full()
		if room == nil {
			return nil
		}
		if s.wake == nil { // only this writes it
			s.mu.Lock()
			s.wake = make(chan struct{}, 1)
			s.mu.Unlock()
			continue // something may have changed before
		}
		if err := s.wasReset(); err != nil {
			return err
		}
		s.wait(room, deadline)
	}
}

func (s *stream) wait(room <-chan struct{}, deadline time.Time) {
	var due <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-room:
	case <-s.wake:
	case <-due:
	}
}

// writable returns why there is no writing, or else until when there is.
func (s *stream) writable() (until time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended != nil:
		err = s.ended
	case s.finished:
		err = &transport.CloseError{Origin: transport.Local}
	case s.interrupted:
		err = s.session.cause()
	case passed(s.writeDeadline):
		err = os.ErrDeadlineExceeded
	}
	return s.writeDeadline, err
}

func (s *stream) writeError(err error) error {
	if _, err := s.writable(); err != nil {
		return err
	}
	if errors.Is(err, yamux.ErrTimeout) {
		return os.ErrDeadlineExceeded
	}
	return s.peerError(err)
}

// wasReset returns how the peer reset the stream, or nil.
func (s *stream) wasReset() error { return s.session.wire.table.wasReset(s.entry) }

func (s *stream) isFinished() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.finished
}

// Close ends both directions. From then on the wire drops what the peer still
// sends. What is here already is thrown away, which gives the peer the room to
// send on until it notices; to be stuck it would have no reason to notice.
func (s *stream) Close() error {
	s.mu.Lock()
	if s.ended != nil {
		s.mu.Unlock()
		return nil
	}
	s.ended = &transport.CloseError{Origin: transport.Local}
	s.finished = true
	s.inner.SetDeadline(longAgo)
	s.nudge()
	s.mu.Unlock()

	s.entry.arrivals.came(0, true)
	s.finish()
	s.session.wire.linger(s)
	return nil
}

// discard empties yamux's buffer, and has it let go of it. It is called by the
// wire only, between two frames, so that nothing fills the buffer meanwhile;
// the stream is closed, so a Read that still runs is about to return.
func (s *stream) discard() {
	s.reading.Lock()
	defer s.reading.Unlock()
	p := inboxes.Get().(*[inboxSize]byte)
	defer inboxes.Put(p)
	for {
		if _, err := s.inner.Read(p[:]); err != nil {
			s.inner.Shrink()
			return
		}
	}
}

// CloseWrite sends FIN. If a Write is under way, it fails, and the stream is
// reset: the peer must not take half a message for a whole one.
func (s *stream) CloseWrite() error {
	s.mu.Lock()
	if s.ended != nil {
		defer s.mu.Unlock()
		return s.ended
	}
	s.finished = true
	s.inner.SetWriteDeadline(longAgo)
	s.nudge()
	s.mu.Unlock()

	s.finish()
	if s.session.ctx.Err() != nil {
		return s.session.cause() // nobody will read that EOF
	}
	return nil
}

// finish ends the writing half once no Write runs any more. If one was cut, that
// ends the reading half too, unless the peer or the session has done so.
func (s *stream) finish() {
	s.writing.Lock()
	defer s.writing.Unlock()
	switch {
	case !s.cut:
		s.inner.Close()
	case s.wasReset() == nil && s.session.ctx.Err() == nil:
		s.Reset(0)
	}
}

// Reset tells the peer a code of up to 65535. After Close it still drops what
// the peer has not read.
func (s *stream) Reset(code uint64) {
	s.mu.Lock()
	if s.ended == nil {
		s.ended = &transport.CloseError{Origin: transport.Local, Reset: true, Coded: true, Code: code}
	}
	s.finished = true
	s.inner.SetDeadline(longAgo)
	s.nudge()
	s.mu.Unlock()

	s.entry.arrivals.came(0, true)
	s.session.wire.reset(s.inner.StreamID(), code)
}

// interrupt returns those who wait when the session has ended.
func (s *stream) interrupt() {
	s.mu.Lock()
	s.interrupted = true
	s.inner.SetDeadline(longAgo)
	s.nudge()
	s.mu.Unlock()
	s.entry.arrivals.came(0, true)
}

// resetByPeer is called when the table knows that the stream was.
func (s *stream) resetByPeer() {
	s.mu.Lock()
	s.nudge()
	s.mu.Unlock()
}

// nudge has a Write that waits for room look again whether it may. It is called
// with mu held.
func (s *stream) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// SetReadDeadline leaves a deadline alone that has stopped Read for good.
func (s *stream) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != nil {
		return s.ended
	}
	s.readDeadline = t
	if s.interrupted {
		return nil
	}
	return s.inner.SetReadDeadline(t)
}

func (s *stream) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != nil {
		return s.ended
	}
	s.writeDeadline = t
	if s.interrupted || s.finished {
		return nil
	}
	s.nudge()
	return s.inner.SetWriteDeadline(t)
}

func (s *stream) LocalAddr() net.Addr  { return s.session.LocalAddr() }
func (s *stream) RemoteAddr() net.Addr { return s.session.RemoteAddr() }

func passed(deadline time.Time) bool {
	return !deadline.IsZero() && !time.Now().Before(deadline)
}
