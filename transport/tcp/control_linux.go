package tcp

import (
	"math"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func (t Transport) control(_, _ string, c syscall.RawConn) error {
	if t.UserTimeout <= 0 {
		return nil
	}
	// Zero would mean the kernel's own choice, hence at least one. It is an int of
	// the kernel's.
	ms := int(min(max(t.UserTimeout/time.Millisecond, 1), math.MaxInt32))
	var err error
	if failed := c.Control(func(fd uintptr) {
		err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, ms))
	}); failed != nil {
		return failed
	}
	return err
}
