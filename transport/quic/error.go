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

// closeError translates what ended a connection.
func closeError(err error) *transport.CloseError {
	if e, ok := errors.AsType[*quicgo.ApplicationError](err); ok {
		origin := transport.Local
		if e.Remote {
			origin = transport.Peer
		}
		return &transport.CloseError{Origin: origin, HasCode: true, Code: uint64(e.ErrorCode), Text: e.ErrorMessage}
	}
	if _, ok := errors.AsType[*quicgo.StatelessResetError](err); ok {
		// The peer knows nothing of the connection: it has restarted.
		return &transport.CloseError{Origin: transport.Peer, Reset: true, Err: beneath(err)}
	}
	if e, ok := errors.AsType[*quicgo.TransportError](err); ok && e.Remote {
		// The peer's stack closed, and not its application.
		return &transport.CloseError{Origin: transport.Peer, Reset: e.ErrorCode != quicgo.NoError, Err: beneath(err)}
	}
	if _, ok := errors.AsType[*quicgo.IdleTimeoutError](err); ok {
		return &transport.CloseError{Origin: transport.Lost, Err: idled{opaque{err}}}
	}
	// A handshake that took too long, the peer's violation of
	// the protocol, a broken socket.
	return &transport.CloseError{Origin: transport.Lost, Fault: faultIn(err), Err: beneath(err)}
}

func faultIn(err error) transport.Fault {
	if _, ok := errors.AsType[*quicgo.HandshakeTimeoutError](err); ok {
		return transport.HandshakeTimeout
	}
	e, ok := errors.AsType[*quicgo.TransportError](err)
	if !ok || e.Remote {
		return transport.Unknown
	}
	switch e.ErrorCode {
	case quicgo.NoError, quicgo.InternalError, quicgo.ConnectionRefused: // this end's own
		return transport.Unknown
	}
	return transport.ProtocolError
}

// beneath is what the library said. Of TLS it says what package tcp does.
func beneath(err error) error {
	e, ok := errors.AsType[*quicgo.TransportError](err)
	switch {
	case !ok || !e.ErrorCode.IsCryptoError():
		return opaque{err}
	case e.Remote:
		return fmt.Errorf("TLS handshake: %w", &net.OpError{Op: "remote error", Err: tls.AlertError(e.ErrorCode & 0xff)})
	}
	return handshakeFailed{opaque{err}}
}

// handshakeFailed is an opaque error of TLS at this end.
type handshakeFailed struct{ opaque }

func (h handshakeFailed) Error() string {
	if _, cause, ok := strings.Cut(h.opaque.Error(), ": "); ok { // behind QUIC's code
		return "TLS handshake: " + cause
	}
	return h.opaque.Error()
}

// readError translates what Read returned.
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

// writeError translates what Write returned.
func writeError(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return os.ErrDeadlineExceeded
	}
	if e, ok := errors.AsType[*quicgo.StreamError](err); ok { // STOP_SENDING
		// A peer that closed its stream wants no more of ours, and says so with
		// codeClosed, which is no word of its application's; one that reset it gave
		// another code.
		if e.ErrorCode == codeClosed {
			return &transport.CloseError{Origin: transport.Peer}
		}
		return &transport.CloseError{Origin: transport.Peer, Reset: true, HasCode: true, Code: uint64(e.ErrorCode)}
	}
	return closeError(err)
}

// opaque carries an error of the library for people to read and for errors.As,
// and hides it from errors.Is: quic-go's errors say that they are
// net.ErrClosed even where the peer closed.
type opaque struct{ err error }

func (o opaque) Error() string { return o.err.Error() }

func (o opaque) As(target any) bool { return errors.As(o.err, target) }

// Is lets a refused dial look like one.
func (o opaque) Is(target error) bool {
	e, ok := errors.AsType[*quicgo.TransportError](o.err)
	return ok && e.Remote && e.ErrorCode == quicgo.ConnectionRefused && target == syscall.ECONNREFUSED
}

// idled is the end by QUIC's idle timeout. It says whose that may have been: a peer that
// asks for a short one ends its sessions before any policy of ours, and quic-go doesn't
// tell what it asked for.
type idled struct{ opaque }

func (i idled) Error() string {
	return i.opaque.Error() + ": the shorter of both ends' QUIC idle timeouts has passed"
}

// gone is why a listener that nobody closed will never accept again.
type gone struct{ opaque }

func (gone) Is(target error) bool { return target == net.ErrClosed }

// Timeout is for the net.OpError of a dial that took too long.
func (o opaque) Timeout() bool {
	e, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](o.err)
	return ok && e.Timeout()
}
