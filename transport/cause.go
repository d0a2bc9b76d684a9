package transport

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
)

// causeOf returns err, which a connection's Read or Write returned, as a CloseError.
func causeOf(err error) *CloseError {
	if ce, ok := errors.AsType[*CloseError](err); ok {
		return ce
	}
	ce := &CloseError{Origin: Lost, Err: err}
	is := func(target error) bool { return errors.Is(err, target) }
	switch {
	case is(net.ErrClosed):
		ce.Origin = Local
	case IsReset(err):
		ce.Origin, ce.Reset = Peer, true
	case is(io.EOF), is(io.ErrUnexpectedEOF):
		ce.Origin = Peer // in the middle of a TLS handshake, for instance
	}
	return ce
}

// IsReset reports whether err, returned by Read or Write, means that the peer reset the
// connection.
func IsReset(err error) bool {
	return slices.ContainsFunc(resets, func(target error) bool { return errors.Is(err, target) })
}

// isTimeout reports whether err is a deadline set at this end, after which the connection
// still works. ETIMEDOUT isn't: the kernel has given the connection up.
func isTimeout(err error) bool {
	if _, ended := errors.AsType[*CloseError](err); ended {
		return false
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	netErr, ok := errors.AsType[net.Error](err)
	return ok && netErr.Timeout() && !errors.Is(err, syscall.ETIMEDOUT)
}
