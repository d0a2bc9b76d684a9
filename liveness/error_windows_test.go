package liveness

import (
	"net"
	"os"
	"syscall"
	"testing"
)

// Windows has numbers of its own for what other systems call ECONNRESET.
func TestResetOnWindows(t *testing.T) {
	for _, number := range []syscall.Errno{syscall.WSAECONNRESET, syscall.WSAECONNABORTED} {
		err := &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("wsarecv", number)}
		if e := explain(err); e.Reason != PeerReset || e.Initiator != Peer {
			t.Errorf("%v: %v", number, e)
		}
	}
}
