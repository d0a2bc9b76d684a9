package tcp

import (
	"errors"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livenet/livenet/transport"
)

// A socket is a TCP connection that takes little memory while it is idle. It does what a
// *net.TCPConn does, but is not in the runtime's poller, which takes half a kilobyte for
// each connection, and waiting for input needs no goroutine.
type socket struct {
	poller *poller
	local  *net.TCPAddr // may be shared
	remote netip.AddrPort
	fd     int

	rmu readLock
	wmu sync.Mutex // held during Write

	mu     sync.Mutex // guards the following fields
	users  int32      // calls that are using fd
	closed bool
	in     side
	out    side
	waker  transport.Waker // for input
}

// A side is one direction of a socket.
type side struct {
	waiting  chan struct{} // signalled at each change; nil if no call waits
	deadline int64         // compared with sinceStart; 0 means none
	changed  bool          // since the last system call
}

// start is the origin of sinceStart, on the monotonic clock.
var start = time.Now().Add(-1)

func sinceStart() int64 { return int64(time.Since(start)) }

// newSocket returns a socket that owns fd. If it fails, it does not close fd.
func newSocket(fd int, local *net.TCPAddr, remote netip.AddrPort) (*socket, error) {
	s := &socket{local: local, remote: remote}
	return s, register(s, fd)
}

// begin lets its caller use the descriptor until end, and clears d.changed. It fails if
// the socket is closed or, with deadlines, if d's deadline has passed.
func (s *socket) begin(d *side, deadlines bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refusal(d, deadlines); err != nil {
		return err
	}
	if d != nil {
		d.changed = false
	}
	s.users++
	return nil
}

func (s *socket) end() {
	s.mu.Lock()
	s.users--
	last := s.closed && s.users == 0
	s.mu.Unlock()
	if last {
		s.release()
	}
}

// refusal returns why the descriptor may not be used, or nil. The caller holds mu.
func (s *socket) refusal(d *side, deadlines bool) error {
	switch {
	case s.closed:
		return net.ErrClosed
	case deadlines && d.deadline != 0 && sinceStart() >= d.deadline:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// release closes the descriptor.
func (s *socket) release() {
	s.poller.unregister(s.fd)
	unix.Close(s.fd)
}

var signals = sync.Pool{New: func() any { return make(chan struct{}, 1) }}

// wait waits until d has changed since the last system call, or its deadline passes.
func (s *socket) wait(d *side) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if err := s.refusal(d, true); err != nil {
			return err
		}
		if d.changed {
			return nil
		}
		d.waiting = signals.Get().(chan struct{})
		deadline, waiting := d.deadline, d.waiting
		s.mu.Unlock()
		if deadline == 0 {
			<-waiting
		} else {
			timer := time.NewTimer(time.Duration(deadline - sinceStart()))
			select {
			case <-waiting:
			case <-timer.C:
			}
			timer.Stop()
		}
		s.mu.Lock()
		d.waiting = nil
		select {
		case <-waiting:
		default:
		}
		signals.Put(waiting)
	}
}

// signal wakes the call that waits for d, if any. The caller holds mu.
func (d *side) signal() {
	if d.waiting != nil {
		select {
		case d.waiting <- struct{}{}:
		default:
		}
	}
}

// changed is called by the poller with the events of epoll.
func (s *socket) changed(events uint32) {
	const broken = unix.EPOLLERR | unix.EPOLLHUP
	var w transport.Waker
	s.mu.Lock()
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|broken) != 0 {
		s.in.changed = true
		s.in.signal()
		w, s.waker = s.waker, nil
	}
	if events&(unix.EPOLLOUT|broken) != 0 {
		s.out.changed = true
		s.out.signal()
	}
	s.mu.Unlock()
	if w != nil {
		w.Wake()
	}
}

// TryRead is Read without waiting.
func (s *socket) TryRead(p []byte) (int, error) {
	if !s.rmu.tryLock() {
		return 0, transport.ErrWouldBlock // a Read is under way
	}
	defer s.rmu.Unlock()
	n, err := s.read(p, false)
	if err == unix.EAGAIN {
		return 0, transport.ErrWouldBlock
	}
	return n, s.opError("read", err)
}

func (s *socket) Read(p []byte) (int, error) {
	s.rmu.Lock()
	defer s.doneReading()
	for {
		n, err := s.read(p, true)
		if err == unix.EAGAIN {
			if err = s.wait(&s.in); err == nil {
				continue
			}
		}
		return n, s.opError("read", err)
	}
}

// doneReading releases the read lock at the end of a Read.
func (s *socket) doneReading() {
	if s.rmu.unlock() {
		s.recheck()
	}
}

// recheck marks the input as changed, because a Read may have left data of which epoll
// has notified before and will not notify again. It also wakes a Read that already waits:
// until a Read clears the mark, every WakeOnRead would wake at once.
func (s *socket) recheck() { s.changed(unix.EPOLLIN) }

// read calls read(2) once.
func (s *socket) read(p []byte, deadlines bool) (int, error) {
	if err := s.begin(&s.in, deadlines); err != nil {
		return 0, err
	}
	defer s.end()
	if len(p) == 0 {
		return 0, nil
	}
	n, err := unix.Read(s.fd, p)
	for err == unix.EINTR {
		n, err = unix.Read(s.fd, p)
	}
	switch {
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

func (s *socket) Write(p []byte) (n int, err error) {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	for {
		m, err := s.write(p[n:])
		n += m
		if err == unix.EAGAIN {
			if err = s.wait(&s.out); err == nil {
				continue
			}
		}
		if err != nil || n == len(p) {
			return n, s.opError("write", err)
		}
	}
}

// write calls write(2) once. A broken connection is an EPIPE: the runtime ignores SIGPIPE
// for all descriptors except 1 and 2.
func (s *socket) write(p []byte) (int, error) {
	if err := s.begin(&s.out, true); err != nil {
		return 0, err
	}
	defer s.end()
	if len(p) == 0 {
		return 0, nil
	}
	n, err := unix.Write(s.fd, p)
	for err == unix.EINTR {
		n, err = unix.Write(s.fd, p)
	}
	return max(n, 0), err
}

// WakeOnRead calls w.Wake at the next change of the input, or now if it has changed.
func (s *socket) WakeOnRead(w transport.Waker) {
	s.mu.Lock()
	if !s.closed && !s.in.changed {
		s.waker = w
		w = nil
	}
	s.mu.Unlock()
	if w != nil {
		w.Wake()
	}
}

func (s *socket) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return s.opError("close", net.ErrClosed)
	}
	s.closed = true
	s.in.signal()
	s.out.signal()
	w := s.waker
	s.waker = nil
	last := s.users == 0
	s.mu.Unlock()
	if last {
		s.release()
	}
	if w != nil {
		w.Wake()
	}
	return nil
}

func (s *socket) CloseRead() error  { return s.shutdown(unix.SHUT_RD) }
func (s *socket) CloseWrite() error { return s.shutdown(unix.SHUT_WR) }

func (s *socket) shutdown(how int) error {
	return s.control("close", func() error { return os.NewSyscallError("shutdown", unix.Shutdown(s.fd, how)) })
}

// SetLinger is like that of a *net.TCPConn.
func (s *socket) SetLinger(sec int) error {
	l := unix.Linger{Onoff: 1, Linger: int32(sec)}
	if sec < 0 {
		l = unix.Linger{}
	}
	return s.control("set", func() error {
		return os.NewSyscallError("setsockopt", unix.SetsockoptLinger(s.fd, unix.SOL_SOCKET, unix.SO_LINGER, &l))
	})
}

// SetKeepAliveConfig is like that of a *net.TCPConn.
func (s *socket) SetKeepAliveConfig(k net.KeepAliveConfig) error {
	return s.control("set", func() error { return setKeepAlive(s.fd, k) })
}

func (s *socket) control(op string, f func() error) error {
	err := s.begin(nil, false)
	if err == nil {
		err = f()
		s.end()
	}
	return s.opError(op, err)
}

func (s *socket) LocalAddr() net.Addr  { return s.local }
func (s *socket) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(s.remote) }

func (s *socket) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

func (s *socket) SetReadDeadline(t time.Time) error  { return s.setDeadline(&s.in, t) }
func (s *socket) SetWriteDeadline(t time.Time) error { return s.setDeadline(&s.out, t) }

func (s *socket) setDeadline(d *side, t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return s.opError("set", net.ErrClosed)
	}
	d.deadline = 0
	if !t.IsZero() {
		now := time.Now()
		d.deadline = deadlineAt(t, now, now.Sub(start))
	}
	d.signal()
	return nil
}

// deadlineAt converts t to the clock of sinceStart, whose value at now is passed. It adds
// the distance of t from now: t may have no monotonic reading, and the wall clock may have
// been set since start. The result is at least 1.
func deadlineAt(t, now time.Time, passed time.Duration) int64 {
	return int64(max(1, passed+min(t.Sub(now), math.MaxInt64-passed)))
}

// opError wraps err as package net does.
func (s *socket) opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	if errno, ok := err.(syscall.Errno); ok {
		err = os.NewSyscallError(op, errno)
	}
	return &net.OpError{Op: op, Net: "tcp", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: err}
}

// SyscallConn is like that of a *net.TCPConn.
func (s *socket) SyscallConn() (syscall.RawConn, error) { return rawSocket{s}, nil }

type rawSocket struct{ *socket }

func (r rawSocket) Control(f func(fd uintptr)) error {
	return r.control("raw-control", func() error { f(uintptr(r.fd)); return nil })
}

func (r rawSocket) Read(f func(fd uintptr) bool) error {
	r.rmu.Lock()
	defer r.doneReading()
	return r.until("raw-read", &r.in, f)
}

func (r rawSocket) Write(f func(fd uintptr) bool) error {
	r.wmu.Lock()
	defer r.wmu.Unlock()
	return r.until("raw-write", &r.out, f)
}

func (r rawSocket) until(op string, d *side, f func(fd uintptr) bool) error {
	for {
		err := r.begin(d, true)
		if err == nil {
			done := f(uintptr(r.fd))
			r.end()
			if done {
				return nil
			}
			err = r.wait(d)
		}
		if err != nil {
			return r.opError(op, err)
		}
	}
}

var (
	_ net.Conn           = (*socket)(nil)
	_ syscall.Conn       = (*socket)(nil)
	_ transport.Pollable = (*socket)(nil)
)
