package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"syscall"

	"github.com/livenet/livenet/internal/devtls"
	"github.com/livenet/livenet/internal/settings"
	"github.com/livenet/livenet/internal/stack"
	"github.com/livenet/livenet/liveness"
)

// The functions in this file turn errors into messages that say what to do.

func whyNotListen(l *settings.Listener, err error) string {
	_, port, _ := net.SplitHostPort(l.Address)
	switch {
	case errors.Is(err, errors.ErrUnsupported) && l.ReusePort:
		return "this system can't share a port between processes: leave --reuse-port out"
	case errors.Is(err, syscall.EADDRINUSE) && l.ReusePort:
		return fmt.Sprintf("port %s is in use, and not shared: the other process must set --reuse-port, too, and belong to the same user", port)
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Sprintf("port %s is in use: stop the process that uses it, or choose another port, or 0 for any free one", port)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("permission denied: port %s needs privileges: take one from 1024 on, or grant CAP_NET_BIND_SERVICE", port)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "this machine does not have that address: 0.0.0.0 means all of its addresses"
	}
	return innermost(err)
}

func whyNotReached(o dialOptions, err error) string {
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, notTLS := errors.AsType[tls.RecordHeaderError](err)
	wrongName, isName := errors.AsType[x509.HostnameError](err)
	pin, isPin := errors.AsType[*devtls.PinError](err)
	switch {
	case refusal(err) != "":
		return refusal(err) + refusalHint
	case isPin:
		return pin.Error()
	case unknown:
		return "its certificate is not signed by a trusted authority: trust the authority with --ca FILE, or the server's key with --pin sha256:HEX, which livenet serve prints"
	case isName:
		return wrongName.Error()
	case notTLS:
		return "it does not speak TLS: leave --tls out"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused: no server listens there"
	case o.trust.tls && !stack.AlwaysTLS(o.transport) && !isNetwork(err):
		return err.Error() + ": if it does not speak TLS leave --tls out"
	case isTimeout(err):
		return fmt.Sprintf("no answer within %s", o.connectTimeout)
	}
	return innermost(err)
}

// whyNoHello explains why a server that accepted the connection did not send a Hello.
func whyNoHello(err error) string {
	if refusal(err) != "" {
		return refusal(err) + refusalHint
	}
	what := err.Error()
	end, ended := errors.AsType[*liveness.Error](err)
	switch {
	case isTimeout(err):
		what = "it sends nothing"
	case errors.Is(err, io.EOF):
		what = "it closes the connection"
	case ended && end.Text != "":
		what = fmt.Sprintf("%s (%s)", end.Reason, end.Text)
	case ended:
		what = end.Reason.String()
	}
	return what + ": is it a livenet server with this transport? Otherwise see --transport, --codec raw and --tls"
}

const refusalHint = ": if it requires client certificates, pass one with --tls-cert and --tls-key"

// refusal returns the TLS alert with which the peer refused the handshake, or "". In TLS 1.3
// a client gets it only after its own handshake is complete.
func refusal(err error) string {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "remote error" { // crypto/tls's Op for an alert
		return ""
	}
	return "the server refuses the TLS handshake: " + op.Err.Error()
}

// isNetwork reports whether err says enough by itself: a network error, a TLS alert from the
// peer, or a certificate that can't be verified.
func isNetwork(err error) bool {
	op, isOp := errors.AsType[*net.OpError](err)
	_, cert := errors.AsType[*tls.CertificateVerificationError](err)
	return isOp && op.Op != "local error" || cert || isTimeout(err)
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return errors.Is(err, context.DeadlineExceeded) || ok && e.Timeout()
}

// innermost returns the text of the innermost error: outer ones repeat the address.
func innermost(err error) string {
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return "no address is known for " + e.Name
	}
	for {
		op, ok := errors.AsType[*net.OpError](err)
		if !ok || op.Err == nil {
			return err.Error()
		}
		err = op.Err
	}
}
