package quic

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	quicgo "github.com/quic-go/quic-go"

	"github.com/livenet/livenet/transport"
)

// closeError translates the error that ended a connection.
func closeError(err error) *transport.CloseError {
	if e, ok := errors.AsType[*quicgo.ApplicationError](err); ok {
		origin := transport.Local
		if e.Remote {
			origin = transport.Peer
		}
		return &transport.CloseError{Origin: origin, HasCode: true, Code: uint64(e.ErrorCode), Text: e.ErrorMessage}
	}
	if _, ok := errors.AsType[*quicgo.StatelessResetError](err); ok {
		// The peer does not know the connection: it has restarted.
		return &transport.CloseError{Origin: transport.Peer, Reset: true, Err: libraryError(err)}
	}
	if e, ok := errors.AsType[*quicgo.TransportError](err); ok && e.Remote {
		// The peer's QUIC stack closed, not its application.
		return &transport.CloseError{Origin: transport.Peer, Reset: e.ErrorCode != quicgo.NoError, Err: libraryError(err)}
	}
	if _, ok := errors.AsType[*quicgo.IdleTimeoutError](err); ok {
		return &transport.CloseError{Origin: transport.Lost, Err: idleTimeout{opaque{err}}}
	}
	// A handshake timeout, a protocol violation by the peer, or a broken socket.
	return &transport.CloseError{Origin: transport.Lost, Fault: faultIn(err), Err: libraryError(err)}
}

func faultIn(err error) transport.Fault {
	if _, ok := errors.AsType[*quicgo.HandshakeTimeoutError](err); ok {
		return transport.HandshakeTimeout
	}
	e, ok := errors.AsType[*quicgo.TransportError](err)
	if !ok || e.Remote {
		return transport.Unknown
	}
	const ( // as alerts of TLS (RFC 9001, section 4.8)
		internalAlert    = 0x100 + 80
		unrecognizedName = 0x100 + 112
	)
	switch e.ErrorCode {
	case quicgo.NoError, quicgo.InternalError, quicgo.ConnectionRefused, internalAlert, unrecognizedName: // not the peer's fault
		return transport.Unknown
	}
	return transport.ProtocolError
}

// libraryError wraps an error of quic-go. TLS errors get the same text as in package tcp.
func libraryError(err error) error {
	e, ok := errors.AsType[*quicgo.TransportError](err)
	switch {
	case !ok || !e.ErrorCode.IsCryptoError():
		return opaque{err}
	case e.Remote:
		return fmt.Errorf("TLS handshake: %w", &net.OpError{Op: "remote error", Err: tls.AlertError(e.ErrorCode & 0xff)})
	}
	return handshakeFailed{opaque{err}}
}

// handshakeFailed is a TLS error found at this end.
type handshakeFailed struct{ opaque }

func (h handshakeFailed) Error() string {
	if _, cause, ok := strings.Cut(h.opaque.Error(), ": "); ok { // QUIC's code precedes the colon
		return "TLS handshake: " + cause
	}
	return h.opaque.Error()
}

// readError translates an error of Read.
func readError(err error) error {
	if err == io.EOF {
		return err
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return os.ErrDeadlineExceeded
	}
	if e, ok := errors.AsType[*quicgo.StreamError](err); ok { // RESET_STREAM
		return &transport.CloseError{Origin: transport.Peer, Reset: true, HasCode: true, Code: uint64(e.ErrorCode)}
	}
	return closeError(err)
}

// writeError translates an error of Write.
func writeError(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return os.ErrDeadlineExceeded
	}
	if e, ok := errors.AsType[*quicgo.StreamError](err); ok { // STOP_SENDING
		// A peer that closed its stream sends STOP_SENDING with codeClosed. Any other
		// code comes from a reset by its application.
		if e.ErrorCode == codeClosed {
			return &transport.CloseError{Origin: transport.Peer}
		}
		return &transport.CloseError{Origin: transport.Peer, Reset: true, HasCode: true, Code: uint64(e.ErrorCode)}
	}
	return closeError(err)
}

// opaque wraps an error of quic-go for its text and for errors.As. It hides the error from
// errors.Is, because quic-go's errors match net.ErrClosed even if the peer closed.
type opaque struct{ err error }

func (o opaque) Error() string { return o.err.Error() }

func (o opaque) As(target any) bool { return errors.As(o.err, target) }

// Is matches syscall.ECONNREFUSED if the peer refused the connection.
func (o opaque) Is(target error) bool {
	e, ok := errors.AsType[*quicgo.TransportError](o.err)
	return ok && e.Remote && e.ErrorCode == quicgo.ConnectionRefused && target == syscall.ECONNREFUSED
}

// idleTimeout is the error of a connection that QUIC's idle timeout ended. Its text names
// both ends: a peer with a short idle timeout ends sessions before a policy does, and
// quic-go doesn't report the peer's value.
type idleTimeout struct{ opaque }

func (i idleTimeout) Error() string {
	return i.opaque.Error() + ": the shorter of both ends' QUIC idle timeouts has passed"
}

// listenerFailed is Accept's error after the socket has broken. It matches net.ErrClosed,
// so that accept loops end.
type listenerFailed struct{ opaque }

func (listenerFailed) Is(target error) bool { return target == net.ErrClosed }

// Timeout lets net.OpError report a dial that took too long as a timeout.
func (o opaque) Timeout() bool {
	e, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](o.err)
	return ok && e.Timeout()
}
