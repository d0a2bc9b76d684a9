//go:build unix

package transport

import (
	"net"
	"syscall"
)

const canPeek = true

// waitRead waits until there is something to read from c: input, the peer's
// end, or an error.
func waitRead(c *net.TCPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool {
		var b [1]byte
		for {
			_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
			if err != syscall.EINTR {
				return err != syscall.EAGAIN
			}
		}
	})
}
