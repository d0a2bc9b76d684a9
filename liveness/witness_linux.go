package liveness

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ask reads TCP_INFO, and whether input is queued.
//
// tcpi_last_data_recv counts in jiffies, whose age is known to a jiffy only:
// one is taken off, so that the answer is never too old. Of a multipath connection
// it tells of the first path only, which says nothing.
func (w *witness) ask() (t testimony, ok bool) {
	if w == nil {
		return t, false
	}
	err := w.raw.Control(func(fd uintptr) {
		if p, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || p != unix.IPPROTO_TCP {
			return
		}
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return
		}
		queued, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		if err != nil {
			return
		}
		t = testimony{
			ago:    max(0, time.Duration(info.Last_data_recv)*time.Millisecond-jiffy()),
			rtt:    time.Duration(info.Rtt) * time.Microsecond,
			unread: queued > 0,
			any:    info.Bytes_received > 0,
		}
		ok = true
	})
	return t, ok && err == nil
}

// jiffy is the step of the clock by which the kernel dates what arrives.
var jiffy = sync.OnceValue(func() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &ts); err != nil || ts.Nano() <= 0 {
		return 10 * time.Millisecond // the longest in use
	}
	return time.Duration(ts.Nano()) + time.Millisecond // and it reports whole milliseconds
})
