//go:build !windows

package transport

import (
	"io"
	"syscall"
)

// resets are the errors of a connection that the peer has reset. The kernel reports
// ECONNRESET once, and EPIPE to every later Write. net.Pipe has an error of its own.
var resets = []error{syscall.ECONNRESET, syscall.EPIPE, io.ErrClosedPipe}
