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

const chunk = 16 << 10 // the most that a Data frame carries

// A stream has the input, the windows and the end of one, and the library's stream
// for its number. Its session's mutex guards it.
type stream struct {
	session    *session
	id         uint32
	writes     transport.WriteGuard
	inner      *yamux.Stream // nil until the library has it
	state      state
	unanswered bool   // opened here, and neither accepted nor reset by the peer
	sendWindow uint32 // what this end may send until the peer gives it more
	recvWindow uint32 // and the other way round
	in         input
	r, w       half
}

// A half is one direction of a stream, for those who read or write.
type half struct {
	err      error // why it has ended
	deadline time.Time
	bell     bell
}

// Read returns what arrived before the session ended, unless this end ended it.
func (s *stream) Read(p []byte) (int, error) {
	s.session.mu.Lock()
	defer s.session.unlock()
	defer s.r.bell.signal() // for another that waits
	for {
		if passed(s.r.deadline) && !isLocal(s.r.err) {
			return 0, os.ErrDeadlineExceeded
		}
		if n, err := s.read(p); err != transport.ErrWouldBlock {
			return n, err
		}
		s.session.wait(&s.r.bell, s.r.deadline, nil)
	}
}

func (s *stream) TryRead(p []byte) (int, error) {
	s.session.mu.Lock()
	defer s.session.unlock()
	return s.read(p)
}

// read is called with the mutex held, as is all that has no capital letter.
func (s *stream) read(p []byte) (int, error) {
	switch {
	case s.in.unread > 0:
		n, freed := s.in.read(p)
		s.session.hold(-freed)
		s.openWindow()
		if s.state == closed && s.in.unread == 0 {
			s.session.forget(s)
		}
		return n, nil
	case s.r.err != nil:
		return 0, s.r.err
	case len(p) == 0:
		return 0, nil
	}
	return 0, transport.ErrWouldBlock
}

// openWindow tells the peer how much more it may send, if that is a lot: as much as
// this end may send, less what a handler may have in hand, or the stream's share of
// half the budget. So when the budget is used up, and the peer's windows are stuck
// behind its data, a handler that echoes can still go on.
func (s *stream) openWindow() {
	limit := min(window, max(int(s.sendWindow)-blockSize, s.session.budget/2/len(s.session.streams)))
	if s.state == lingering {
		limit = window // of which nothing will be held
	}
	more := limit - int(s.recvWindow) - s.in.unread
	if more >= limit/2 && (s.r.err == nil || s.state == lingering) {
		s.recvWindow += uint32(more)
		s.session.wire.out.put(newHeader(typeWindowUpdate, 0, s.id, uint32(more)), nil)
	}
}

// WakeOnRead has w woken by the receiving goroutine, or by what ends the stream.
func (s *stream) WakeOnRead(w transport.Waker) {
	s.session.mu.Lock()
	defer s.session.unlock()
	s.r.bell.waker = w
	s.wakeReader()
}

// wakeReader wakes whatever waits for input, if there is something to read.
func (s *stream) wakeReader() {
	if s.in.unread > 0 || s.r.err != nil {
		s.session.ring(&s.r.bell)
	}
}

// receive takes input. A peer that sends half a window to a stream that is
// closed here has it reset: there is no other way to stop it.
func (s *stream) receive(p []byte) {
	s.session.makeRoom(s)
	if s.recvWindow -= uint32(len(p)); s.r.err == nil {
		s.session.hold(s.in.add(p))
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
				s.session.wait(&s.w.bell, s.w.deadline, room)
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

// CloseWrite sends FIN. If a Write is under way, it fails, and the stream is
// reset: the peer must not take half a message for a whole one.
func (s *stream) CloseWrite() error {
	if err := s.close(closeWrite); isLocal(err) {
		return err
	}
	if s.session.ctx.Err() != nil {
		return context.Cause(s.session.ctx) // nobody will read that EOF
	}
	return nil
}

// close takes the mutex twice: between stopping a Write and saying so to the
// peer it waits for that to return. If it was cut short, the reading half ends
// too. It returns why that had ended before.
func (s *stream) close(e event) error {
	s.session.mu.Lock()
	before := s.r.err
	s.stop(e, &transport.CloseError{Origin: transport.Local})
	s.session.unlock()
	s.writes.Finish(func(cut bool) {
		s.session.mu.Lock()
		defer s.session.unlock()
		if !cut {
			s.move(e, 0)
		} else if s.state != closed { // by the peer or with the session
			s.end(reset, &transport.CloseError{Origin: transport.Local, Reset: true, HasCode: true})
		}
	})
	return before
}

// Reset tells the peer a code of up to 2^32-1. After Close it still drops what
// the peer has not read.
func (s *stream) Reset(code uint64) {
	s.session.mu.Lock()
	defer s.session.unlock()
	s.end(reset, &transport.CloseError{Origin: transport.Local, Reset: true, HasCode: true, Code: code})
}

func (s *stream) end(e event, cause *transport.CloseError) {
	s.stop(e, cause)
	s.move(e, cause.Code)
}

// stop ends, for those who use the stream, the halves that e is the end of. The
// first cause counts, but this end's counts above all. A peer that has sent its FIN and
// then resets only wants no more: its data is complete.
func (s *stream) stop(e event, cause error) {
	drop := e == closeBoth || e == reset || e == peerReset && s.r.err != io.EOF || e == sessionEnd && isLocal(cause)
	if e != closeWrite && (s.r.err == nil || drop && !isLocal(s.r.err)) {
		s.r.err = cause
	}
	if drop {
		s.session.hold(-s.in.held)
		s.in = input{}
	}
	if e != peerFIN && (s.w.err == nil || isLocal(cause) && !isLocal(s.w.err)) {
		s.w.err = cause
		s.w.bell.signal()
	}
	s.wakeReader()
}

// move makes a transition, and does what follows from it on the wire and in the
// library.
func (s *stream) move(e event, code uint64) {
	from, to := s.state, s.state.on(e)
	if s.state = to; to == from || e == sessionEnd {
		return
	}
	switch {
	case e == reset:
		if code > maxCode {
			code = 0 // which says none
		}
		s.session.wire.out.put(newHeader(typeWindowUpdate, flagRST, s.id, uint32(code)), nil)
	case e <= closeBoth && from != halfClosedLocal:
		s.session.wire.out.put(newHeader(typeWindowUpdate, flagFIN, s.id, 0), nil)
	}
	if to == lingering {
		s.openWindow() // or the peer might be stuck before it has sent what brings it the reset
		s.session.lingering = append(s.session.lingering, s.id)
		if all := s.session.lingering; len(all) > maxLingering {
			s.session.streams[all[0]].move(reset, 0)
		}
	}
	if to != closed {
		return
	}
	s.answered()
	if s.in.unread == 0 {
		s.session.forget(s)
	}
	if e != peerReset && s.inner != nil { // of which the library hears
		s.session.after = append(s.session.after, func() { s.inner.Close() })
	}
}

// answered has the stream count as unanswered no more, and reports whether it did.
func (s *stream) answered() bool {
	if !s.unanswered {
		return false
	}
	s.unanswered = false
	<-s.session.unanswered
	return true
}

func (s *stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

func (s *stream) SetReadDeadline(t time.Time) error  { return s.setDeadline(&s.r, t) }
func (s *stream) SetWriteDeadline(t time.Time) error { return s.setDeadline(&s.w, t) }

// setDeadline takes the mutex.
func (s *stream) setDeadline(h *half, t time.Time) error {
	s.session.mu.Lock()
	defer s.session.unlock()
	if isLocal(s.r.err) {
		return s.r.err
	}
	h.deadline = t
	h.bell.signal()
	return nil
}

func (s *stream) LocalAddr() net.Addr  { return s.session.LocalAddr() }
func (s *stream) RemoteAddr() net.Addr { return s.session.RemoteAddr() }

// isLocal reports whether this end has ended what err is the end of.
func isLocal(err error) bool { return errors.Is(err, net.ErrClosed) }
