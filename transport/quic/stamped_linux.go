package quic

import (
	"encoding/binary"
	"net"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// A stampedConn is a UDP socket whose datagrams the kernel stamps with the time
// at which they came in, and which tells that to the arrivals. Quic-go reads from
// it in batches, as it does from the kernel's own, and never sees the stamps.
type stampedConn struct {
	*socket
	raw      syscall.RawConn
	arrivals *arrivals

	// For the one goroutine that reads.
	batches      *ipv4.PacketConn // of both IP versions, in spite of its name
	taking       taking
	clock        wallClock
	drops        uint32
	ours, theirs [][]byte // room for control messages
}

// roomLen is for all control messages that quic-go asks for, and the stamp: 128
// bytes by now, which is all that quic-go has room for.
const roomLen = 256

// stamped is s, such that the arrivals are told of what is read from it; or
// s itself, if the kernel does not stamp.
func stamped(s *socket, a *arrivals) net.PacketConn {
	raw, err := s.SyscallConn()
	if err != nil {
		return s
	}
	var refused error
	err = raw.Control(func(fd uintptr) {
		refused = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	})
	if err != nil || refused != nil {
		return s
	}
	c := &stampedConn{socket: s, raw: raw, arrivals: a, taking: taking{RawConn: raw, mu: &a.mu}}
	c.taking.once = c.taking.attempt
	c.batches = ipv4.NewPacketConn(takingConn{s, &c.taking})
	c.clock.read(true)
	a.unread = c.unread
	return c
}

// ReadBatch is quic-go's only way to read.
func (c *stampedConn) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	c.lend(ms)
	n, err := c.batches.ReadBatch(ms, flags)
	if c.taking.locked {
		if n > 0 {
			c.note(ms[:n], n < len(ms))
		}
		c.taking.unlock()
	}
	c.giveBack(ms, n)
	return n, err
}

// A takingConn is the socket as x/net reads from it: whoever gets something has
// locked the arrivals. So nothing is on its way to them when another has the lock.
type takingConn struct {
	udpConn
	raw *taking
}

func (c takingConn) SyscallConn() (syscall.RawConn, error) { return c.raw, nil }

type taking struct {
	syscall.RawConn
	mu     *sync.Mutex
	locked bool
	began  time.Duration // when it began to take, since start
	f      func(fd uintptr) (done bool)
	once   func(fd uintptr) (done bool) // the method, which would else be made anew each time
}

func (t *taking) Read(f func(fd uintptr) (done bool)) error {
	t.f = f
	return t.RawConn.Read(t.once)
}

func (t *taking) attempt(fd uintptr) (done bool) {
	t.mu.Lock()
	t.began = time.Since(start)
	if t.locked = t.f(fd); !t.locked {
		t.mu.Unlock()
	}
	return t.locked
}

func (t *taking) unlock() {
	t.locked = false
	t.mu.Unlock()
}

// note tells the arrivals of what was read. All says that it was all there was.
// The lock is held.
func (c *stampedConn) note(ms []ipv4.Message, all bool) {
	now := c.clock.read(all)
	late := false
	for i := range ms {
		m := &ms[i]
		at := now
		if stamp, ok := stampOf(m.OOB[:m.NN]); ok {
			at = c.clock.when(stamp)
		}
		late = late || now-at > lateness || at >= now // then it isn't known
		c.arrivals.came(addrPort(m.Addr), m.Buffers[0][:m.N], min(at, now))
	}
	if all {
		c.arrivals.all = c.taking.began // which may be long ago by now
	}
	if !late {
		return
	}
	if drops, ok := c.dropped(); !ok || drops != c.drops {
		// The kernel keeps the first and drops the rest: whoever has been read may
		// have sent more, until it was asked.
		c.drops = drops
		c.arrivals.anyone = time.Since(start)
	}
}

// unread reports whether there is something to read, be it an empty datagram.
func (c *stampedConn) unread() bool {
	waiting := true
	err := c.raw.Control(func(fd uintptr) {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		waiting = n != 0 || err != nil
	})
	return waiting || err != nil
}

// dropped is how many datagrams the kernel has dropped in all, for want of room.
func (c *stampedConn) dropped() (n uint32, ok bool) {
	err := c.raw.Control(func(fd uintptr) {
		var info [unix.SK_MEMINFO_VARS]uint32
		size := uint32(unsafe.Sizeof(info))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		n, ok = info[unix.SK_MEMINFO_DROPS], errno == 0 && uintptr(size) == unsafe.Sizeof(info)
	})
	return n, ok && err == nil
}

// lend puts room for the kernel's control messages in the place of quic-go's.
func (c *stampedConn) lend(ms []ipv4.Message) {
	for len(c.ours) < len(ms) {
		c.ours = append(c.ours, make([]byte, roomLen))
		c.theirs = append(c.theirs, nil)
	}
	for i := range ms {
		c.theirs[i], ms[i].OOB = ms[i].OOB, c.ours[i]
	}
}

// giveBack undoes that, and hands on what the first n have got, but for the stamp.
func (c *stampedConn) giveBack(ms []ipv4.Message, n int) {
	for i := range ms {
		m := &ms[i]
		m.OOB = c.theirs[i]
		if i < n {
			m.NN = copyWithoutStamp(m.OOB, c.ours[i][:m.NN])
		}
	}
}

// stampOf is the kernel's stamp, in nanoseconds of Unix time.
func stampOf(oob []byte) (ns int64, ok bool) {
	for len(oob) > 0 {
		h, body, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return 0, false
		}
		if isStamp(h) {
			return timespec(body)
		}
		oob = rest
	}
	return 0, false
}

// copyWithoutStamp copies control messages, as many as there is room for.
func copyWithoutStamp(dst, oob []byte) (n int) {
	for len(oob) > 0 {
		h, _, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return n
		}
		if whole := oob[:len(oob)-len(rest)]; !isStamp(h) && len(whole) <= len(dst)-n {
			n += copy(dst[n:], whole)
		}
		oob = rest
	}
	return n
}

func isStamp(h unix.Cmsghdr) bool {
	return h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_TIMESTAMPNS
}

// timespec is that of the kernel, which has two words of the machine's.
func timespec(b []byte) (ns int64, ok bool) {
	switch len(b) {
	case 16:
		return int64(binary.NativeEndian.Uint64(b))*1e9 + int64(binary.NativeEndian.Uint64(b[8:])), true
	case 8:
		return int64(binary.NativeEndian.Uint32(b))*1e9 + int64(binary.NativeEndian.Uint32(b[4:])), true
	}
	return 0, false
}

// A wallClock tells when the wall clock, by which the kernel stamps, showed what.
// The wall clock may be set at any time, so its lead over the clock that never
// is has to be looked at again and again. Of all leads since the datagrams came
// that are yet to be dated, the least is believed: a moment may seem too late
// then, and not too early, unless the wall clock was set back and forth between
// two looks.
type wallClock struct {
	begun        bool
	before, lead time.Duration // at the last look but one, and at the last
	least        time.Duration // since there was nothing left to be dated
	all          bool          // nothing was, at the last look
}

// read looks at both clocks, and returns the time since start. What has been read
// by now is to be dated before the next look; all says that nothing else came
// before.
func (c *wallClock) read(all bool) time.Duration {
	t := time.Now()
	now := t.Sub(start)
	c.look(now, t.UnixNano(), all)
	return now
}

func (c *wallClock) look(now time.Duration, wall int64, all bool) {
	lead := time.Duration(wall) - now
	switch {
	case !c.begun:
		c.begun, c.lead, c.least = true, lead, lead
	case c.all: // but what came between reading and looking may have had the lead of before
		c.least = min(c.before, c.lead, lead)
	default:
		c.least = min(c.least, lead)
	}
	c.before, c.lead, c.all = c.lead, lead, all
}

// when is the time since start at which the wall clock showed so much.
func (c *wallClock) when(wall int64) time.Duration { return time.Duration(wall) - c.least }
