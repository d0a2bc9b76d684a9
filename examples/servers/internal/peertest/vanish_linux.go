package peertest

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Vanish makes conn's system deaf to its peer, as if it had lost its network: a filter
// drops all that comes, before TCP sees it. It waits until nothing has been sent for a
// moment, since what is not acknowledged is sent again and again.
func Vanish(t *testing.T, conn net.Conn) {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for vanished := false; !vanished; time.Sleep(time.Millisecond) {
		if closed := raw.Control(func(fd uintptr) { vanished, err = deafen(int(fd)) }); closed != nil {
			t.Fatal(closed)
		}
		if err != nil {
			t.Skip("no filter can be attached: ", err)
		}
	}
}

// deafen reports false if too little time has passed since something was sent.
func deafen(fd int) (bool, error) {
	const quiet = 100 // ms
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil || info.Last_data_sent < quiet || info.Unacked > 0 {
		return false, err
	}
	drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}
	return true, unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop})
}
