//go:build !windows

package transport

import (
	"io"
	"syscall"
)

// resets are the errors of a connection that the peer has reset. The kernel
// reports that once, as ECONNRESET, and EPIPE to every Write from then on;
// net.Pipe has an error of its own.
var resets = []error{syscall.ECONNRESET, syscall.EPIPE, io.ErrClosedPipe}
