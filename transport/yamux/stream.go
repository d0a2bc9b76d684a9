package yamux

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/livenet/livenet/transport"
)

const chunk = 16 << 10 // longest body of a Data frame

// A stream has its own input, windows and state. The library's stream is only used for its
// ID. The session's mutex guards it.
type stream struct {
	session    *session
	id         uint32
	writes     transport.WriteGuard
	inner      *yamux.Stream // nil until the library has made it
	state      state
	unacked    bool   // opened here, and neither accepted nor reset by the peer
	sendWindow uint32 // bytes that this end may send
	recvWindow uint32 // bytes that the peer may send
	in         input
	r, w       half
}

// A half is one direction of a stream, as its users see it.
type half struct {
	err      error // why it has ended
	deadline time.Time
	changed  notifier
}

// Read also returns input that arrived before the peer or a lost connection ended the
// session.
func (s *stream) Read(p []byte) (int, error) {
	s.session.mu.Lock()
	defer s.session.unlock()
	defer s.r.changed.signal() // another waiting Read
	for {
		if passed(s.r.deadline) && !isLocal(s.r.err) {
			return 0, os.ErrDeadlineExceeded
		}
		if n, err := s.read(p); err != transport.ErrWouldBlock {
			return n, err
		}
		s.session.wait(&s.r.changed, s.r.deadline, nil)
	}
}

func (s *stream) TryRead(p []byte) (int, error) {
	s.session.mu.Lock()
	defer s.session.unlock()
	return s.read(p)
}

// read is called with the mutex held, as all unexported methods except close and
// setDeadline.
func (s *stream) read(p []byte) (int, error) {
	switch {
	case s.in.unread > 0:
		n, freed := s.in.read(p)
		s.session.addHeld(-freed)
		s.openWindow()
		if s.state == closed && s.in.unread == 0 {
			s.session.remove(s)
		}
		return n, nil
	case s.r.err != nil:
		return 0, s.r.err
	case len(p) == 0:
		return 0, nil
	}
	return 0, transport.ErrWouldBlock
}

// openWindow sends a Window Update if it would open the window by at least half of the
// limit. The limit is the larger of two values: the send window less one block, which a
// handler may hold, and the stream's share of half the budget. So a handler that echoes can
// always write what it has read, even if the budget is used up and the peer's Window
// Updates wait behind its data.
func (s *stream) openWindow() {
	limit := min(window, max(int(s.sendWindow)-blockSize, s.session.budget/2/len(s.session.streams)))
	if s.state == lingering {
		limit = window // input of a closed stream is dropped, so it takes no memory
	}
	more := limit - int(s.recvWindow) - s.in.unread
	if more >= limit/2 && (s.r.err == nil || s.state == lingering) {
		s.recvWindow += uint32(more)
		s.session.wire.out.put(newHeader(typeWindowUpdate, 0, s.id, uint32(more)), nil)
	}
}

// WakeOnRead wakes w from the receiving goroutine, or from the call that ends the stream.
func (s *stream) WakeOnRead(w transport.Waker) {
	s.session.mu.Lock()
	defer s.session.unlock()
	s.r.changed.waker = w
	s.wakeReader()
}

// wakeReader notifies the reader if there is input or an error.
func (s *stream) wakeReader() {
	if s.in.unread > 0 || s.r.err != nil {
		s.session.notify(&s.r.changed)
	}
}

// receive adds input. If a peer sends half a window to a stream that is closed here, the
// stream is reset: there is no other way to stop the peer.
func (s *stream) receive(p []byte) {
	s.session.waitForBudget(s)
	if s.recvWindow -= uint32(len(p)); s.r.err == nil {
		s.session.addHeld(s.in.add(p))
		s.wakeReader()
	}
	if s.state == lingering && s.recvWindow <= window/2 {
		s.move(reset, 0)
	}
}

func (s *stream) Write(p []byte) (n int, err error) {
	return s.writes.Write(func() (int, error) {
		s.session.mu.Lock()
		defer s.session.unlock()
		for {
			size := min(uint32(min(len(p), chunk)), s.sendWindow)
			room := s.session.wire.out.full()
			switch {
			case s.w.err != nil:
				return n, s.w.err
			case passed(s.w.deadline):
				return n, os.ErrDeadlineExceeded
			case len(p) == 0:
				return n, nil
			case size == 0 || room != nil:
				s.session.wait(&s.w.changed, s.w.deadline, room)
			default:
				s.session.wire.out.put(newHeader(typeData, 0, s.id, size), p[:size])
				s.sendWindow -= size
				n, p = n+int(size), p[size:]
			}
		}
	})
}

// Close ends both directions. What the peer sends from then on is dropped.
func (s *stream) Close() error {
	s.close(closeBoth)
	return nil
}

// CloseWrite sends FIN. If it interrupts a Write, the stream is reset, so that the peer does
// not take a truncated message for a complete one.
func (s *stream) CloseWrite() error {
	if err := s.close(closeWrite); isLocal(err) {
		return err
	}
	if s.session.ctx.Err() != nil {
		return context.Cause(s.session.ctx) // the peer won't read that EOF
	}
	return nil
}

// close interrupts a Write, waits without the mutex until that has returned, and then sends
// FIN. If the Write was truncated, it resets the stream, which ends the reading half, too.
// It returns why the reading half had ended before the call.
func (s *stream) close(e event) error {
	s.session.mu.Lock()
	before := s.r.err
	s.stop(e, &transport.CloseError{Origin: transport.Local})
	s.session.unlock()
	s.writes.Finish(func(truncated bool) {
		s.session.mu.Lock()
		defer s.session.unlock()
		if !truncated {
			s.move(e, 0)
		} else if s.state != closed {
			s.end(reset, &transport.CloseError{Origin: transport.Local, Reset: true, HasCode: true})
		}
	})
	return before
}

// Reset sends a code of up to 2^32-1 to the peer. After Close it still drops what the peer
// has not read.
func (s *stream) Reset(code uint64) {
	s.session.mu.Lock()
	defer s.session.unlock()
	s.end(reset, &transport.CloseError{Origin: transport.Local, Reset: true, HasCode: true, Code: code})
}

func (s *stream) end(e event, cause *transport.CloseError) {
	s.stop(e, cause)
	s.move(e, cause.Code)
}

// stop sets the error of the halves that e ends. The first cause is kept, except that a
// cause of this end replaces one of the peer. A peer that has sent FIN and then resets only
// wants no more data: what it sent is complete.
func (s *stream) stop(e event, cause error) {
	drop := e == closeBoth || e == reset || e == peerReset && s.r.err != io.EOF || e == sessionEnd && isLocal(cause)
	if e != closeWrite && (s.r.err == nil || drop && !isLocal(s.r.err)) {
		s.r.err = cause
	}
	if drop {
		s.session.addHeld(-s.in.held)
		s.in = input{}
	}
	if e != peerFIN && (s.w.err == nil || isLocal(cause) && !isLocal(s.w.err)) {
		s.w.err = cause
		s.w.changed.signal()
	}
	s.wakeReader()
}

// move makes the transition for e: it sends the frame, and frees the stream when it is
// closed.
func (s *stream) move(e event, code uint64) {
	from, to := s.state, s.state.on(e)
	if s.state = to; to == from || e == sessionEnd {
		return
	}
	switch {
	case e == reset:
		if code > maxCode {
			code = 0 // the same as no code
		}
		s.session.wire.out.put(newHeader(typeWindowUpdate, flagRST, s.id, uint32(code)), nil)
	case e <= closeBoth && from != halfClosedLocal:
		s.session.wire.out.put(newHeader(typeWindowUpdate, flagFIN, s.id, 0), nil)
	}
	if to == lingering {
		s.openWindow() // otherwise the peer might block before it has sent enough to be reset
		s.session.lingering = append(s.session.lingering, s.id)
		if all := s.session.lingering; len(all) > maxLingering {
			s.session.streams[all[0]].move(reset, 0)
		}
	}
	if to != closed {
		return
	}
	s.acked()
	if s.in.unread == 0 {
		s.session.remove(s)
	}
	if e != peerReset && s.inner != nil { // the library handles the peer's RST itself
		s.session.after = append(s.session.after, func() { s.inner.Close() })
	}
}

// acked marks the stream as acknowledged, and reports whether it was not before.
func (s *stream) acked() bool {
	if !s.unacked {
		return false
	}
	s.unacked = false
	<-s.session.unacked
	return true
}

func (s *stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

func (s *stream) SetReadDeadline(t time.Time) error  { return s.setDeadline(&s.r, t) }
func (s *stream) SetWriteDeadline(t time.Time) error { return s.setDeadline(&s.w, t) }

// setDeadline locks the mutex.
func (s *stream) setDeadline(h *half, t time.Time) error {
	s.session.mu.Lock()
	defer s.session.unlock()
	if isLocal(s.r.err) {
		return s.r.err
	}
	h.deadline = t
	h.changed.signal()
	return nil
}

func (s *stream) LocalAddr() net.Addr  { return s.session.LocalAddr() }
func (s *stream) RemoteAddr() net.Addr { return s.session.RemoteAddr() }

// isLocal reports whether err says that this end closed or reset.
func isLocal(err error) bool { return errors.Is(err, net.ErrClosed) }
