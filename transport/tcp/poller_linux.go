package tcp

import (
	"os"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A poller notifies sockets when they become readable or writable, by epoll. It has one
// goroutine for all sockets, which exists while there are any. It blocks no thread: the
// runtime's poller waits for the epoll descriptor.
type poller struct {
	epoll *os.File
	fd    int // of epoll

	mu      sync.Mutex
	sockets []*socket // by descriptor
}

// thePoller is shared by all sockets; its poller is nil while there are none.
var thePoller struct {
	mu sync.Mutex
	*poller
	sockets int
}

// register adds s, whose descriptor is fd, to the poller, which it starts if needed.
func register(s *socket, fd int) error {
	thePoller.mu.Lock()
	defer thePoller.mu.Unlock()
	if thePoller.poller == nil {
		p, err := newPoller()
		if err != nil {
			return err
		}
		thePoller.poller = p
	}
	p := thePoller.poller
	s.poller, s.fd = p, fd
	p.set(fd, s)
	// Edge-triggered: each change is reported once, and the initial state is the first.
	ev := unix.EpollEvent{Fd: int32(fd), Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff}
	if err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		p.set(fd, nil)
		if thePoller.sockets == 0 {
			thePoller.poller = nil
			p.epoll.Close()
		}
		return os.NewSyscallError("epoll_ctl", err)
	}
	thePoller.sockets++
	return nil
}

// unregister removes a socket that is about to be closed. The last one ends the poller.
func (p *poller) unregister(fd int) {
	p.set(fd, nil)
	thePoller.mu.Lock()
	defer thePoller.mu.Unlock()
	thePoller.sockets--
	if thePoller.sockets == 0 {
		thePoller.poller = nil
		p.epoll.Close() // which ends its goroutine
	}
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // otherwise the runtime does not poll it
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &poller{epoll: os.NewFile(uintptr(fd), "epoll"), fd: fd}
	conn, err := p.epoll.SyscallConn()
	if err != nil {
		p.epoll.Close()
		return nil, err
	}
	go p.run(conn)
	return p, nil
}

func (p *poller) set(fd int, s *socket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for fd >= len(p.sockets) {
		p.sockets = append(p.sockets, make([]*socket, max(256, len(p.sockets)/4))...)
	}
	p.sockets[fd] = s
}

func (p *poller) run(conn syscall.RawConn) {
	var events [256]unix.EpollEvent
	var sockets [len(events)]*socket
	for {
		n := 0
		err := conn.Read(func(fd uintptr) bool {
			var err error
			n, err = unix.EpollWait(int(fd), events[:], 0)
			return n > 0 || err != nil && err != unix.EINTR
		})
		if err != nil {
			return // closed
		}
		// By now a descriptor may belong to another socket, which is then woken without
		// need.
		p.mu.Lock()
		for i := range max(n, 0) {
			sockets[i] = p.sockets[events[i].Fd]
		}
		p.mu.Unlock()
		for i := range max(n, 0) {
			if s := sockets[i]; s != nil {
				s.changed(events[i].Events)
				sockets[i] = nil
			}
		}
		if n == len(events) {
			// There may be thousands more. Let the goroutines that were woken run first:
			// otherwise every other goroutine in the scheduler's queue, such as the
			// liveness clock, would wait for all of them.
			runtime.Gosched()
		}
	}
}
