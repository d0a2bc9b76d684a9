package main

import (
	"maps"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livenet/livenet/codec"
)

// A rawClient is the role of a worker that holds TCP sessions cheaply, to leave the machine to
// the server: one goroutine, one epoll, and 12 bytes a session. The codec makes its beats; input
// is counted and dropped.
type rawClient struct {
	task  dialTask
	addr  unix.SockaddrInet4
	epoll int
	pings codec.Coder // nil: beats are beatLine
	hello []byte      // what a session begins with

	mu       sync.Mutex
	began    time.Time // with the first session
	sessions []rawSession
	free     []int // those of them that have ended: the next ones take their turns
	pace     pace
	seq      uint32
	beat     []byte
	received int64 // bytes
	state    clientState
	err      error
}

// A rawSession is a socket.
type rawSession struct {
	fd    int32
	beat  uint32 // when it last beat: milliseconds since the first session began
	state rawState
}

type rawState uint8

const (
	rawUp rawState = iota
	rawSilent
	rawLate // silent since before the last Restart
	rawGone
)

// beatLine is a session's beat where the codec has none.
const beatLine = "beat\n"

// beatGrain is how finely beats are spread at most: each wake-up has its price.
const beatGrain = 20 * time.Millisecond

// raw reports whether sockets can do what the task asks for.
func (t *dialTask) raw() bool { return t.Sockets && t.Transport == "tcp" }

func newRawClient(t dialTask) (role, error) {
	addr, err := netip.ParseAddrPort(t.Addr)
	if err != nil {
		return nil, err
	}
	code, err := codec.ByName(t.Codec)
	if err != nil {
		return nil, err
	}
	c := &rawClient{
		task: t, addr: unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()},
		pings: code.Client(codec.Hello{}), pace: pace{every: t.Beat, n: max(1, t.Sessions)},
		sessions: make([]rawSession, 0, t.Sessions), state: clientState{Failed: make(tally)},
	}
	c.hello = c.pings.AppendPending(nil)
	if ping, ok := c.pings.AppendPing(nil, 1); ok {
		c.hello = append(c.hello, ping...)
	} else {
		c.pings, c.hello = nil, []byte(beatLine)
	}
	if c.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	go c.run() // until the process ends
	return c, nil
}

func (c *rawClient) obey(o order, a *answer) error {
	for range o.Open {
		c.mu.Lock()
		if err := c.open(); err != nil {
			c.state.Failed[err.Error()]++
		}
		c.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if o.Silence != nil {
		c.silence(*o.Silence)
	}
	state := c.state
	state.Failed = maps.Clone(state.Failed)
	state.Answered = c.received / int64(len(beatLine))
	a.Client = &state
	if o.Restart {
		c.state.Late, c.state.Ends = 0, nil
		for i := range c.sessions {
			if s := &c.sessions[i]; s.state == rawSilent {
				s.state = rawLate
			}
		}
	}
	return c.err
}

// run sends beats and reads what comes.
func (c *rawClient) run() {
	events := make([]unix.EpollEvent, 256)
	buf := make([]byte, 16<<10)
	for {
		c.mu.Lock()
		wait := beatGrain
		if len(c.sessions) > 0 {
			c.state.Late = max(c.state.Late, c.pace.due(time.Since(c.began), c.sendBeat))
			wait = max(wait, c.pace.next()-time.Since(c.began))
		}
		c.mu.Unlock()
		n, err := unix.EpollWait(c.epoll, events, int(wait/time.Millisecond))
		c.mu.Lock()
		if err != nil && err != unix.EINTR {
			c.err = os.NewSyscallError("epoll_wait", err)
			c.mu.Unlock()
			return
		}
		for _, e := range events[:max(n, 0)] {
			if s := &c.sessions[e.Fd]; s.state != rawGone {
				c.read(s, int(e.Fd), buf)
			}
		}
		c.mu.Unlock()
	}
}

// open opens a session, which then beats. On loopback connecting takes no time.
func (c *rawClient) open() error {
	if len(c.sessions) == 0 {
		c.began = time.Now()
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	if len(c.free) == 0 {
		c.free = append(c.free, len(c.sessions))
		c.sessions = append(c.sessions, rawSession{state: rawGone})
	}
	index := c.free[len(c.free)-1]
	if err := c.connect(fd, index); err != nil {
		unix.Close(fd)
		return err
	}
	c.free = c.free[:len(c.free)-1]
	c.sessions[index] = rawSession{fd: int32(fd), beat: c.millis()}
	c.state.Connected++
	c.state.Beats++
	return nil
}

func (c *rawClient) connect(fd, index int) error {
	for _, call := range []struct {
		name string
		do   func() error
	}{
		// Otherwise many ports would be left in TIME_WAIT.
		{"setsockopt SO_LINGER", func() error {
			return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		}},
		{"setsockopt IP_BIND_ADDRESS_NO_PORT", func() error {
			return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		}},
		{"setsockopt TCP_NODELAY", func() error {
			return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		}},
		{"bind", func() error { return unix.Bind(fd, &unix.SockaddrInet4{Addr: source(index).As4()}) }},
		{"connect", func() error { return unix.Connect(fd, &c.addr) }},
		{"fcntl", func() error { return unix.SetNonblock(fd, true) }},
		{"write", func() error { _, err := unix.Write(fd, c.hello); return err }},
		{"epoll_ctl", func() error {
			return unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(index)})
		}},
	} {
		if err := call.do(); err != nil {
			return os.NewSyscallError(call.name, err)
		}
	}
	return nil
}

func (c *rawClient) millis() uint32 { return uint32(time.Since(c.began) / time.Millisecond) }

// sendBeat sends a session's beat. If writing would block, it skips the beat.
func (c *rawClient) sendBeat(session int) {
	if session >= len(c.sessions) || c.sessions[session].state != rawUp {
		return
	}
	s := &c.sessions[session]
	c.beat = append(c.beat[:0], beatLine...)
	if c.pings != nil {
		c.seq++
		c.beat, _ = c.pings.AppendPing(c.beat[:0], c.seq)
	}
	at := c.millis() // before the server can have it
	if _, err := unix.Write(int(s.fd), c.beat); err == nil {
		s.beat = at
		c.state.Beats++
	}
}

// silence chooses the sessions that fall silent evenly from all, and so from all phases of the
// interval.
func (c *rawClient) silence(o silence) {
	var up []int
	for i := range c.sessions {
		if c.sessions[i].state == rawUp {
			up = append(up, i)
		}
	}
	n := min(o.N, len(up))
	for i := range n {
		index := up[i*len(up)/n]
		if o.Beat {
			c.sendBeat(index)
		}
		c.sessions[index].state = rawSilent
	}
}

// read reads input. If the session has ended although a beat was sent within the server's
// timeout, that is a failure.
func (c *rawClient) read(s *rawSession, index int, buf []byte) {
	n, err := unix.Read(int(s.fd), buf)
	c.received += int64(max(n, 0))
	if n > 0 || err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	c.state.Lost++
	switch silent := time.Duration(c.millis()-s.beat) * time.Millisecond; {
	case silent < c.task.Timeout:
		c.state.FalseKills++
	case s.state == rawSilent:
		c.state.Ends = append(c.state.Ends, time.Now().UnixNano())
		fallthrough
	case s.state == rawLate:
		c.state.Ended++
	}
	unix.Close(int(s.fd))
	s.state = rawGone
	c.free = append(c.free, index)
}
