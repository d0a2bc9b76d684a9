package load

import (
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livenet/livenet/codec"
)

// A rawClient is the role of a worker that holds TCP sessions, with next to
// nothing for each: one goroutine drives all of their sockets by epoll, and
// what it knows of a session is 12 bytes. It makes the bytes of beats by the
// codec, and forgets what comes.
type rawClient struct {
	order holdOrder
	notes *noter
	hello []byte // what a session begins with
	pings codec.Coder
	epoll int
	wake  int // an eventfd: there are tasks

	mu    sync.Mutex
	tasks []func() // for the loop, which owns what follows

	began    time.Time   // with the first session
	targets  []rawTarget // sessions still to be opened
	sessions []rawSession
	free     []int // those of them that have ended, to be used again
	pending  int   // of them, those whose connect is under way
	pace     pace
	seq      uint32 // of the latest beat
	beat     []byte // a buffer for one
	buf      []byte
	noted    time.Time // when the last change was
	dirty    bool      // there was one since
	state    holding
}

// A rawTarget is a server and how many sessions to open to it.
type rawTarget struct {
	addr unix.SockaddrInet4
	left int
}

// A rawSession is a socket, and when it last beat, in milliseconds since the
// first session.
type rawSession struct {
	fd    int32
	beat  uint32
	state rawState
}

type rawState uint8

const (
	rawConnecting rawState = iota
	rawUp
	rawSilent
	rawForgotten // silent since before the last report that said Restart
	rawGone
)

const (
	mostPending  = 64 // a server that is behind with accepting lets them wait
	connectBurst = 32 // sessions opened between two looks at what else there is to do

	// beatGrain is how finely beats are spread at most: each moment at which
	// there are some to be sent costs a process a wake-up.
	beatGrain = 20 * time.Millisecond
)

func newRawClient(o holdOrder, notes *noter) (role, error) {
	code, err := codec.ByName(o.Codec)
	if err != nil {
		return nil, err
	}
	c := &rawClient{
		order: o, notes: notes,
		pace:     pace{every: o.Beat, n: max(1, o.Sessions)},
		sessions: make([]rawSession, 0, o.Sessions),
		buf:      make([]byte, 16<<10),
		state:    holding{Failed: make(map[string]int)},
	}
	c.pings = code.Client(codec.Hello{})
	c.hello = c.pings.AppendOwed(nil)
	if ping, ok := c.pings.AppendPing(nil, 1); ok {
		c.hello = append(c.hello, ping...)
	} else {
		c.pings = nil // a codec without beats: any byte is one
		c.hello = []byte{0}
	}
	if c.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if c.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	if err := c.control(unix.EPOLL_CTL_ADD, c.wake, unix.EPOLLIN, wakeIndex); err != nil {
		return nil, err
	}
	go c.run() // until the process ends
	return c, nil
}

// wakeIndex stands for c.wake among the indexes of sessions.
const wakeIndex = -1

func (c *rawClient) control(op, fd int, events uint32, index int) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(c.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(index)}))
}

// do has the loop run f.
func (c *rawClient) do(f func()) {
	c.mu.Lock()
	c.tasks = append(c.tasks, f)
	c.mu.Unlock()
	one := [8]byte{1} // any number but 0 will do
	unix.Write(c.wake, one[:])
}

func (c *rawClient) connect(o connectOrder) {
	c.do(func() {
		addr, err := netip.ParseAddrPort(o.Server.Addr)
		if err != nil || !addr.Addr().Is4() {
			c.notes.note(note{Failed: fmt.Sprintf("can't dial %s", o.Server.Addr)})
			return
		}
		c.targets = append(c.targets, rawTarget{
			addr: unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()},
			left: o.N,
		})
	})
}

func (c *rawClient) watch(bool) {} // it notes each session anyway

func (c *rawClient) report(o reportOrder, answer *note) {
	done := make(chan holding)
	c.do(func() {
		h := c.state
		h.Failed = maps.Clone(h.Failed)
		if !o.Ends {
			h.Ends = nil
		}
		if o.Restart {
			c.state.Late, c.state.Ends = 0, nil
			for i := range c.sessions {
				if s := &c.sessions[i]; s.state == rawSilent {
					s.state = rawForgotten
				}
			}
		}
		done <- h
	})
	h := <-done
	answer.Client = &h
}

// run is the loop.
func (c *rawClient) run() {
	events := make([]unix.EpollEvent, 256)
	for {
		c.open()
		c.sendBeats()
		c.noteChange()
		n, err := unix.EpollWait(c.epoll, events, int(c.idle()/time.Millisecond))
		if err != nil && err != unix.EINTR {
			c.notes.note(note{Failed: os.NewSyscallError("epoll_wait", err).Error()})
			return
		}
		for _, e := range events[:max(n, 0)] {
			if e.Fd == wakeIndex {
				c.runTasks()
			} else {
				c.ready(int(e.Fd), e.Events)
			}
		}
	}
}

// idle is how long there will be nothing to do unless something happens.
func (c *rawClient) idle() time.Duration {
	switch {
	case len(c.targets) > 0 && c.pending < mostPending:
		return 0
	case c.dirty:
		return noteEvery
	case len(c.sessions) == 0:
		return time.Hour
	}
	return max(beatGrain, c.pace.next()-time.Since(c.began))
}

func (c *rawClient) runTasks() {
	var count [8]byte
	unix.Read(c.wake, count[:])
	c.mu.Lock()
	tasks := c.tasks
	c.tasks = nil
	c.mu.Unlock()
	for _, f := range tasks {
		f()
	}
}

// noteChange notes how many sessions there are, if there are others than the
// last time, but not each by itself.
func (c *rawClient) noteChange() {
	if now := time.Now(); c.dirty && (now.Sub(c.noted) >= noteEvery || len(c.targets)+c.pending == 0) {
		c.dirty, c.noted = false, now
		h := c.state
		h.Ends = nil
		c.notes.note(note{Client: &h})
	}
}

// silence spreads those that fall silent evenly over all, and so over the times
// at which they beat.
func (c *rawClient) silence(o silenceOrder) {
	c.do(func() {
		var up []int
		for i := range c.sessions {
			if c.sessions[i].state == rawUp {
				up = append(up, i)
			}
		}
		n := min(o.N, len(up))
		for i := range n {
			index := up[i*len(up)/n]
			if o.Last {
				c.beatNow(index)
			}
			c.sessions[index].state = rawSilent
		}
		c.state.Silent += n
	})
}

// open begins to open some of the sessions that are wanted.
func (c *rawClient) open() {
	for range connectBurst {
		if len(c.targets) == 0 || c.pending >= mostPending {
			return
		}
		if len(c.sessions) == 0 {
			c.began = time.Now()
		}
		t := &c.targets[0]
		if err := c.openOne(&t.addr); err != nil {
			c.fail(err)
		}
		if t.left--; t.left <= 0 {
			c.targets = c.targets[1:]
		}
	}
}

func (c *rawClient) fail(err error) {
	c.dirty = true
	c.state.Failed[err.Error()]++
}

func (c *rawClient) openOne(addr unix.Sockaddr) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	index := len(c.sessions)
	if n := len(c.free); n > 0 {
		index = c.free[n-1]
	}
	if err := c.dial(fd, index, addr); err != nil {
		unix.Close(fd)
		return err
	}
	// Nearly always the handshake is done by now, since the other end of the
	// loopback interface answers at once; and then so is the first beat.
	s := rawSession{fd: int32(fd)}
	at := c.millis()
	events := uint32(unix.EPOLLIN | unix.EPOLLRDHUP)
	switch _, err := unix.Write(fd, c.hello); err {
	case nil:
		c.up(&s, at)
	case unix.EAGAIN, unix.ENOTCONN:
		events |= unix.EPOLLOUT
		c.pending++
	default:
		unix.Close(fd)
		return os.NewSyscallError("connect", err)
	}
	if err := c.control(unix.EPOLL_CTL_ADD, fd, events, index); err != nil {
		unix.Close(fd)
		return err
	}
	if index == len(c.sessions) {
		c.sessions = append(c.sessions, s)
	} else {
		c.sessions[index] = s
		c.free = c.free[:len(c.free)-1]
	}
	return nil
}

// dial begins to connect from the session's source. Bound in the usual way, a
// socket would get a port that no other has to whatever destination; the kernel
// is asked to leave the port open until it knows that.
func (c *rawClient) dial(fd, index int, addr unix.Sockaddr) error {
	for _, option := range []struct {
		name string
		set  func() error
	}{
		// The ends of many would otherwise leave as many ports in TIME_WAIT.
		{"SO_LINGER", func() error {
			return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		}},
		{"IP_BIND_ADDRESS_NO_PORT", func() error {
			return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		}},
	} {
		if err := option.set(); err != nil {
			return os.NewSyscallError("setsockopt "+option.name, err)
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: c.order.Sources.At(index).As4()}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if err := unix.Connect(fd, addr); err != nil && err != unix.EINPROGRESS {
		return os.NewSyscallError("connect", err)
	}
	return nil
}

// up notes that a session is connected and has said its first words, not before
// at.
func (c *rawClient) up(s *rawSession, at uint32) {
	s.state = rawUp
	s.beat = at
	c.state.Connected++
	c.state.Beats++
	c.dirty = true
}

func (c *rawClient) millis() uint32 { return uint32(time.Since(c.began) / time.Millisecond) }

// sendBeats sends those that are due.
func (c *rawClient) sendBeats() {
	if len(c.sessions) > 0 {
		c.state.Late = max(c.state.Late, c.pace.due(time.Since(c.began), c.beatNow))
	}
}

// beatNow sends a session's beat. One whose peer takes nothing has to wait for
// its next turn.
func (c *rawClient) beatNow(session int) {
	if session >= len(c.sessions) || c.sessions[session].state != rawUp {
		return
	}
	s := &c.sessions[session]
	c.beat = append(c.beat[:0], 0)
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

// ready is called for a session when epoll has something to say of it.
func (c *rawClient) ready(index int, events uint32) {
	s := &c.sessions[index]
	switch {
	case s.state == rawConnecting && events&(unix.EPOLLOUT|unix.EPOLLERR|unix.EPOLLHUP) != 0:
		c.connected(s, index)
	case s.state == rawUp || s.state == rawSilent || s.state == rawForgotten:
		if err := c.read(s); err != nil {
			c.lost(s, index)
		}
	}
}

func (c *rawClient) connected(s *rawSession, index int) {
	c.pending--
	at := c.millis()
	errno, err := unix.GetsockoptInt(int(s.fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	if err == nil {
		_, err = unix.Write(int(s.fd), c.hello)
	}
	if err != nil {
		c.fail(os.NewSyscallError("connect", err))
		c.close(s, index)
		return
	}
	c.up(s, at)
	c.control(unix.EPOLL_CTL_MOD, int(s.fd), unix.EPOLLIN|unix.EPOLLRDHUP, index)
}

// read forgets what has come; epoll says it when there is more. It is io.EOF
// when the server has ended the session.
func (c *rawClient) read(s *rawSession) error {
	switch n, err := unix.Read(int(s.fd), c.buf); {
	case err == unix.EAGAIN:
		return nil
	case err != nil:
		return err
	case n == 0:
		return io.EOF
	}
	return nil
}

// lost is the end of a session that nobody here has asked for. If the server
// ended it though a beat had been sent within its timeout, it was wrong to.
func (c *rawClient) lost(s *rawSession, index int) {
	c.state.Lost++
	silent := time.Duration(c.millis()-s.beat) * time.Millisecond
	switch {
	case silent < c.order.Timeout: // be it one that is to be ended later
		c.state.FalseKills++
	case s.state == rawSilent, s.state == rawForgotten:
		c.state.end(s.state == rawForgotten)
	}
	c.close(s, index)
}

func (c *rawClient) close(s *rawSession, index int) {
	unix.Close(int(s.fd))
	s.state, s.fd = rawGone, -1
	c.free = append(c.free, index)
}
