package quic

import (
	"errors"
	"net"
	"sync"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/livenet/livenet/transport"
)

// codeClosed is the code of a stream that was closed and not reset. It goes out
// where QUIC wants one: to stop the peer from sending to a stream that nobody
// reads any more, and for a Write that Close cut short.
const codeClosed = 0

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// A stream makes a net.Conn of a QUIC stream, whose two halves end separately
// and whose Close ends but one of them.
type stream struct {
	inner   *quicgo.Stream
	session *session

	// mu guards what follows, and with it who may move the deadlines.
	mu       sync.Mutex
	finished bool                  // no more writing: CloseWrite, Close or Reset
	ended    *transport.CloseError // Close or Reset, whichever was first

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
		return n, nil // whatever the error is, it stays for the next call
	}
	return 0, s.readEnd(err)
}

// WaitRead waits for the first byte and leaves it.
func (s *stream) WaitRead() error {
	var b [1]byte
	if _, err := s.inner.Peek(b[:]); err != nil {
		return s.readEnd(err)
	}
	return nil
}

// readEnd is what the stream says of an error that quic-go returned for reading.
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

// end returns the error of a stream that this end has ended, or nil.
func (s *stream) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil {
		return nil
	}
	return s.ended
}

// writeEnd is end for the writing direction.
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

// Close ends both directions. The order matters: the past deadline makes a
// blocked Write return, for quic-go does not allow FIN beside it; FIN goes
// before STOP_SENDING, so that a peer that hears both has the whole message;
// and STOP_SENDING makes the peer finish its half, without which a stream that
// it opened would keep its slot.
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

// CloseWrite sends FIN. A Write that is under way fails, and the peer reads a
// reset then.
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
		return s.session.cause() // nobody will read that EOF
	}
	return nil
}

// stopWriting is called with mu held.
func (s *stream) stopWriting() {
	s.finished = true
	s.inner.SetWriteDeadline(longAgo)
}

// finish ends the writing half once no Write runs any more. Both calls do
// nothing if it has ended before; Close then complains, to no purpose.
func (s *stream) finish() {
	s.writes.Finish(func(cut bool) {
		if cut {
			s.inner.CancelWrite(codeClosed)
			return
		}
		s.inner.Close()
	})
}

// Reset sends RESET_STREAM and STOP_SENDING with code (at most 2^62-1). After
// Close it still drops what the peer has not received.
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

// SetWriteDeadline leaves the deadline alone that stops a Write for good.
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
