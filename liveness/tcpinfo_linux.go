package liveness

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// info reads TCP_INFO.
//
// The kernel dates what arrives in jiffies, so an age is known to a jiffy only: one is
// taken off. Of a multipath connection it tells of the first path only, which says
// nothing.
func (s *tcpSocket) info() (i tcpInfo, ok bool) {
	if s == nil {
		return i, false
	}
	err := s.raw.Control(func(fd uintptr) {
		if p, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || p != unix.IPPROTO_TCP {
			return
		}
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return
		}
		i = tcpInfo{
			sinceData:  max(0, time.Duration(info.Last_data_recv)*time.Millisecond-jiffy()),
			sinceAck:   max(0, time.Duration(min(info.Last_data_recv, info.Last_ack_recv))*time.Millisecond-jiffy()),
			sinceSent:  max(0, time.Duration(info.Last_data_sent)*time.Millisecond-jiffy()),
			rtt:        time.Duration(info.Rtt) * time.Microsecond,
			received:   info.Bytes_received > 0,
			unsent:     info.Notsent_bytes > 0,
			unanswered: info.Probes > 1 || info.Retransmits > 1,
			zeroWindow: info.Notsent_bytes > 0 && info.Unacked == 0,
		}
		i.slowWindowProbes = i.zeroWindow && !limitsBackoff(int(fd)) // keepalive rests while data is queued
		ok = true
	})
	return i, ok && err == nil
}

// sendQueue returns how many bytes the peer's kernel has acknowledged, and how many
// that were written it has not.
func (s *tcpSocket) sendQueue() (acked, queued int64, ok bool) {
	err := s.raw.Control(func(fd uintptr) {
		if p, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || p != unix.IPPROTO_TCP {
			return
		}
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return
		}
		n, err := unix.IoctlGetInt(int(fd), unix.TIOCOUTQ) // later: the sum is never more than was written
		acked, queued, ok = int64(info.Bytes_acked), int64(n), err == nil
	})
	return acked, queued, ok && err == nil
}

// unread reports whether data has arrived that the program has not read, and whether it
// is so much that the peer may have had no room for more.
func (s *tcpSocket) unread() (some, full bool) {
	s.raw.Control(func(fd uintptr) {
		queued, _ := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		room, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
		// The window is half of the room, and not opened by less than half of that.
		some, full = queued > 0, err == nil && queued >= room/4
	})
	return some, full
}

// jiffy is the step of the clock by which the kernel dates what arrives.
var jiffy = sync.OnceValue(func() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &ts); err != nil || ts.Nano() <= 0 {
		return 10 * time.Millisecond // the longest in use
	}
	return time.Duration(ts.Nano()) + time.Millisecond // and it reports whole milliseconds
})

// tcpRTOMaxMS is TCP_RTO_MAX_MS, of Linux 6.15.
const tcpRTOMaxMS = 44

// limitBackoff has the kernel ask a peer that doesn't answer, or has no room, at least
// every d, as far as it can: older kernels wait up to two minutes.
func (s *tcpSocket) limitBackoff(d time.Duration) {
	const least, most = time.Second, 2 * time.Minute
	s.raw.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, tcpRTOMaxMS, int(min(max(d, least), most)/time.Millisecond))
	})
}

// limitsBackoff reports whether the kernel has what limitBackoff sets.
func limitsBackoff(fd int) bool {
	_, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, tcpRTOMaxMS)
	return err == nil
}

// queued returns how many bytes of input are there to be read.
func (s *tcpSocket) queued() (n int) {
	s.raw.Control(func(fd uintptr) {
		n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ)
	})
	return n
}
