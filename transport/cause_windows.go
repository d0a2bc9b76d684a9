package transport

import (
	"io"
	"syscall"
)

// resets are the errors of a connection that the peer has reset. Windows has its own
// numbers. net.Pipe has an error of its own.
var resets = []error{syscall.WSAECONNRESET, syscall.WSAECONNABORTED, io.ErrClosedPipe}
