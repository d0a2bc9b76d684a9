package tcp

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const hasUserTimeout = true

func (t Transport) control(_, _ string, c syscall.RawConn) error {
	if t.UserTimeout <= 0 {
		return nil
	}
	// Zero would mean the kernel's default, hence at least one.
	ms := int(max(min(t.UserTimeout, maxUserTimeout)/time.Millisecond, 1))
	var err error
	if failed := c.Control(func(fd uintptr) {
		err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, ms))
	}); failed != nil {
		return failed
	}
	return err
}
