//go:build unix

package transport

import (
	"net"
	"os"
	"syscall"
)

const canPeek = true

// waitRead waits until c is readable: data, EOF or an error. It returns the error: the
// kernel reports an error only once, and a later Read would return EOF.
func waitRead(c socket) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		for {
			if _, _, failed = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK); failed != syscall.EINTR {
				return failed != syscall.EAGAIN
			}
		}
	})
	if oe, ok := err.(*net.OpError); ok {
		oe.Op = "read" // as Read has it
	}
	if err == nil && failed != nil {
		err = &net.OpError{Op: "read", Net: c.RemoteAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError("read", failed)}
	}
	return err
}
