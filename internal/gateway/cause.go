package gateway

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"syscall"

	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

// cause says in a word or two why an upstream failed. Clients get to see it, so it
// holds no address.
func cause(err error) string {
	_, unknown := errors.AsType[*net.DNSError](err)
	netErr, isNet := errors.AsType[net.Error](err)
	end, ended := errors.AsType[*liveness.Error](err)
	switch {
	case ended && end.Claimed():
		return end.Reason.String()
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, context.DeadlineExceeded), isNet && netErr.Timeout():
		return "timed out"
	case transport.IsReset(err):
		return "reset"
	case ended && end.Reason == liveness.PeerReset:
		return "reset"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "unreachable"
	case unknown:
		return "unknown host"
	case errors.Is(err, fs.ErrNotExist):
		return "no such socket"
	case errors.Is(err, fs.ErrPermission):
		return "permission denied"
	case ended:
		return end.Reason.String()
	}
	return "failed"
}
