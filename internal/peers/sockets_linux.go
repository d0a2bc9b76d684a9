package main

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// sockets is the client of the servers that speak bare TCP: one goroutine, one
// epoll, and a descriptor for each session, so that it takes as little of the
// machine as it can from the server that is measured.
type sockets struct {
	addr    string
	epoll   int
	fds     []int
	stop    atomic.Bool
	stopped chan struct{} // closed when the beats have ended

	// Owned by whoever runs the loop: open, or the goroutine of beat.
	answered int64
	err      error
}

func dialSockets(addr string, _ time.Duration) client { return &sockets{addr: addr, epoll: -1} }

func (s *sockets) open(n int) error {
	addr, err := netip.ParseAddrPort(s.addr)
	if err != nil {
		return err
	}
	if s.epoll < 0 {
		if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
			return fmt.Errorf("epoll_create1: %w", err)
		}
	}
	peer := &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
	want := int64(n - len(s.fds))
	s.answered = 0
	opened := int64(0)
	for until := time.Now().Add(dialTime); s.answered < want; {
		for opened < want && opened-s.answered < mostDialling {
			if err := s.connect(peer); err != nil {
				return err
			}
			opened++
		}
		if err := s.poll(100); err != nil {
			return err
		}
		if time.Now().After(until) {
			return fmt.Errorf("%d of %d sessions were not answered within %v", want-s.answered, want, dialTime)
		}
	}
	return nil
}

// connect opens a session and says something on it. On loopback connecting
// takes no time, so it may as well block.
func (s *sockets) connect(peer unix.Sockaddr) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	s.fds = append(s.fds, fd)
	if err := unix.Connect(fd, peer); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return err
	}
	if err := unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return s.say(fd)
}

func (s *sockets) say(fd int) error {
	if _, err := unix.Write(fd, []byte(message)); err != nil && err != unix.EAGAIN {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// poll reads what has come, or comes within ms.
func (s *sockets) poll(ms int) error {
	var events [256]unix.EpollEvent
	n, err := unix.EpollWait(s.epoll, events[:], ms)
	if err == unix.EINTR {
		return nil
	} else if err != nil {
		return fmt.Errorf("epoll_wait: %w", err)
	}
	var buf [1024]byte
	for _, e := range events[:n] {
		k, err := unix.Read(int(e.Fd), buf[:])
		switch {
		case err == unix.EAGAIN || err == unix.EINTR:
		case err != nil:
			return fmt.Errorf("read: %w", err)
		case k == 0:
			return errors.New("the server has closed a connection")
		default:
			// An echo of 5 bytes is never cut in two on loopback.
			s.answered += int64(k / len(message))
		}
	}
	return nil
}

func (s *sockets) beat(every time.Duration) {
	s.answered = 0
	s.stop.Store(false)
	s.stopped = make(chan struct{})
	go func() {
		defer close(s.stopped)
		s.err = s.run(every)
	}()
}

// run beats on one session after the other, evenly spread over the interval.
func (s *sockets) run(every time.Duration) error {
	start := time.Now()
	for sent := 0; !s.stop.Load(); {
		due := int(time.Since(start).Seconds() / every.Seconds() * float64(len(s.fds)))
		for ; sent < due; sent++ {
			if err := s.say(s.fds[sent%len(s.fds)]); err != nil {
				return err
			}
		}
		if err := s.poll(1); err != nil {
			return err
		}
	}
	return nil
}

func (s *sockets) rest() (int64, error) {
	s.stop.Store(true)
	<-s.stopped
	return s.answered, s.err
}
