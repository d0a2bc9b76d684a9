package quic

import (
	"errors"
	"net"
	"sync"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/livenet/livenet/transport"
)

// codeClosed is the code for a stream that was closed and not reset. It is sent in
// STOP_SENDING after Close, and in RESET_STREAM if Close interrupted a Write.
const codeClosed = 0

// longAgo is a deadline in the past.
var longAgo = time.Unix(1, 0)

// A stream adapts a quicgo.Stream, whose Close ends only the writing direction, to
// transport.Stream.
type stream struct {
	inner   *quicgo.Stream
	session *session

	mu       sync.Mutex            // guards the fields below and the setting of deadlines
	finished bool                  // CloseWrite, Close or Reset was called
	ended    *transport.CloseError // set by Close or Reset, whichever was first

	writes transport.WriteGuard // quic-go forbids Close while a Write runs
}

var (
	_ transport.Stream = (*stream)(nil)
	_ transport.Waiter = (*stream)(nil)
)

func newStream(inner *quicgo.Stream, s *session) *stream {
	return &stream{inner: inner, session: s}
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.inner.Read(p)
	if n > 0 || err == nil {
		return n, nil // the next call returns the error again
	}
	return 0, s.readEnd(err)
}

// WaitRead waits for the next byte without consuming it.
func (s *stream) WaitRead() error {
	var b [1]byte
	if _, err := s.inner.Peek(b[:]); err != nil {
		return s.readEnd(err)
	}
	return nil
}

// readEnd returns the stream's error for a reading error of quic-go.
func (s *stream) readEnd(err error) error {
	if ended := s.end(); ended != nil {
		return ended
	}
	return readError(err)
}

func (s *stream) Write(p []byte) (int, error) {
	return s.writes.Write(func() (int, error) {
		if err := s.writeEnd(); err != nil {
			return 0, err
		}
		n, err := s.inner.Write(p)
		if err == nil {
			return n, nil
		}
		if end := s.writeEnd(); end != nil {
			return n, end
		}
		return n, writeError(err)
	})
}

// end returns the error of a stream that this end has closed or reset, or nil.
func (s *stream) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil {
		return nil
	}
	return s.ended
}

// writeEnd is end for the writing direction: CloseWrite ends that, too.
func (s *stream) writeEnd() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended != nil:
		return s.ended
	case s.finished:
		return &transport.CloseError{Origin: transport.Local}
	}
	return nil
}

// Close ends both directions, in this order. A past deadline makes a blocked Write return,
// since quic-go forbids Close during Write. FIN comes before STOP_SENDING, so that a peer
// that gets both has the whole message. STOP_SENDING makes the peer end its direction;
// otherwise a stream that the peer opened would keep its slot.
func (s *stream) Close() error {
	s.mu.Lock()
	if s.ended != nil {
		s.mu.Unlock()
		return nil
	}
	s.ended = &transport.CloseError{Origin: transport.Local}
	s.stopWriting()
	s.mu.Unlock()

	s.finish()
	s.inner.CancelRead(codeClosed)
	return nil
}

// CloseWrite sends FIN. If it interrupts a Write, the peer reads a reset instead.
func (s *stream) CloseWrite() error {
	s.mu.Lock()
	if s.ended != nil {
		defer s.mu.Unlock()
		return s.ended
	}
	s.stopWriting()
	s.mu.Unlock()

	s.finish()
	if s.session.ctx.Err() != nil {
		return s.session.cause() // the peer won't read that EOF
	}
	return nil
}

// stopWriting is called with mu held.
func (s *stream) stopWriting() {
	s.finished = true
	s.inner.SetWriteDeadline(longAgo)
}

// finish ends the writing direction once no Write runs. If it has ended before, neither
// call has an effect; the error of Close does not matter.
func (s *stream) finish() {
	s.writes.Finish(func(truncated bool) {
		if truncated {
			s.inner.CancelWrite(codeClosed)
			return
		}
		s.inner.Close()
	})
}

// Reset sends RESET_STREAM and STOP_SENDING with code (at most 2^62-1). It also drops what
// an earlier Close has not delivered yet.
func (s *stream) Reset(code uint64) {
	code = min(code, maxCode)
	s.mu.Lock()
	s.finished = true
	if s.ended == nil {
		s.ended = &transport.CloseError{Origin: transport.Local, Reset: true, HasCode: true, Code: code}
	}
	s.mu.Unlock()
	s.inner.CancelWrite(quicgo.StreamErrorCode(code)) // unblocks Write, too
	s.inner.CancelRead(quicgo.StreamErrorCode(code))
}

func (s *stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

func (s *stream) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != nil {
		return s.ended
	}
	return s.inner.SetReadDeadline(t)
}

// SetWriteDeadline has no effect after CloseWrite, which has set a past deadline to
// interrupt Write.
func (s *stream) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended != nil:
		return s.ended
	case s.finished:
		return nil
	}
	return s.inner.SetWriteDeadline(t)
}

func (s *stream) LocalAddr() net.Addr  { return s.session.LocalAddr() }
func (s *stream) RemoteAddr() net.Addr { return s.session.RemoteAddr() }
