package liveness

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// info reads TCP_INFO. It is not ok for a multipath connection, whose TCP_INFO describes only
// the first path. The kernel dates arrivals in jiffies, so one jiffy is subtracted from ages.
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

// sendQueue returns how many of the bytes that were written the peer's kernel has acknowledged,
// and how many it has not.
func (s *tcpSocket) sendQueue() (acked, queued int64, ok bool) {
	err := s.raw.Control(func(fd uintptr) {
		if p, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || p != unix.IPPROTO_TCP {
			return
		}
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return
		}
		n, err := unix.IoctlGetInt(int(fd), unix.TIOCOUTQ) // after TCP_INFO, so that the sum is not too high
		acked, queued, ok = int64(info.Bytes_acked), int64(n), err == nil
	})
	return acked, queued, ok && err == nil
}

// unread reports whether unread input is queued, and whether it is so much that the peer's
// window may have been zero.
func (s *tcpSocket) unread() (some, full bool) {
	s.raw.Control(func(fd uintptr) {
		queued, _ := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		room, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
		// The window is half of the buffer, and grows only in steps of half of that.
		some, full = queued > 0, err == nil && queued >= room/4
	})
	return some, full
}

// jiffy returns the precision of the kernel's dates of arrival.
var jiffy = sync.OnceValue(func() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &ts); err != nil || ts.Nano() <= 0 {
		return 10 * time.Millisecond // the longest in use
	}
	return time.Duration(ts.Nano()) + time.Millisecond // TCP_INFO has whole milliseconds
})

// tcpRTOMaxMS is TCP_RTO_MAX_MS, of Linux 6.15.
const tcpRTOMaxMS = 44

// limitBackoff limits the interval of retransmissions and window probes to d, between 1 s and
// 2 min. It does nothing on kernels before 6.15, which back off to two minutes.
func (s *tcpSocket) limitBackoff(d time.Duration) {
	const least, most = time.Second, 2 * time.Minute
	s.raw.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, tcpRTOMaxMS, int(min(max(d, least), most)/time.Millisecond))
	})
}

// limitsBackoff reports whether the kernel has TCP_RTO_MAX_MS.
func limitsBackoff(fd int) bool {
	_, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, tcpRTOMaxMS)
	return err == nil
}

// queued returns how many bytes of unread input are queued.
func (s *tcpSocket) queued() (n int) {
	s.raw.Control(func(fd uintptr) {
		n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ)
	})
	return n
}
