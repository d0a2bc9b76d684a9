package liveness

import "golang.org/x/sys/unix"

const canQuerySendQueue = true

// unacknowledged returns how many bytes the peer has not acknowledged; 0 if the
// connection is closed.
func unacknowledged(tcp tcpConn) (n int) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0
	}
	raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	return n
}
