//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package reuseport

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func set(c syscall.RawConn) error {
	var err error
	if failed := c.Control(func(fd uintptr) {
		err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, 1))
	}); failed != nil {
		return failed
	}
	return err
}
