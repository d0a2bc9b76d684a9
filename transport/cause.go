package transport

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
)

// causeOf says in the words of this package how a connection ended whose Read
// or Write returned err.
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
		ce.Origin = Peer // in the midst of something, such as a TLS handshake
	}
	return ce
}

// IsReset reports whether a Read or Write returned err because the peer has reset
// the connection.
func IsReset(err error) bool {
	return slices.ContainsFunc(resets, func(target error) bool { return errors.Is(err, target) })
}

// isTimeout tells a deadline of this end's, after which the connection is as
// good as before, from the kernel's giving up, which it calls a timeout too.
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
