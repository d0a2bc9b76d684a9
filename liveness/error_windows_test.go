package liveness

import (
	"net"
	"os"
	"syscall"
	"testing"
)

// On Windows, WSAECONNRESET has its own number.
func TestResetOnWindows(t *testing.T) {
	for _, number := range []syscall.Errno{syscall.WSAECONNRESET, syscall.WSAECONNABORTED} {
		err := &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("wsarecv", number)}
		if e := explain(err); e.Reason != PeerReset || e.Initiator != Peer {
			t.Errorf("%v: %v", number, e)
		}
	}
}
