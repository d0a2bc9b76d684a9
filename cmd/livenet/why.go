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

// This file says what is in the way, and what helps.

func whyNotListen(l *settings.Listener, err error) string {
	_, port, _ := net.SplitHostPort(l.Address)
	switch {
	case errors.Is(err, errors.ErrUnsupported) && l.ReusePort:
		return "this system can't share a port between processes: leave --reuse-port out"
	case errors.Is(err, syscall.EADDRINUSE) && l.ReusePort:
		return fmt.Sprintf("port %s is in use, and not shared: whoever uses it must share it, too, and be run by the same user", port)
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Sprintf("port %s is in use: stop whoever uses it, or take another one, or 0 for any that is free", port)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("permission denied: port %s needs privileges: take one from 1024 on, or grant CAP_NET_BIND_SERVICE", port)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "this machine does not have that address: 0.0.0.0 stands for all that it has"
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
		return "its certificate is of no authority that is trusted here: trust that with --ca FILE, or the server's key with --pin sha256:HEX, which livenet serve shows"
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

// whyNotGreeted is for a server that was reached, and then did not say Hello.
func whyNotGreeted(err error) string {
	if refusal(err) != "" {
		return refusal(err) + refusalHint
	}
	what := err.Error()
	end, ended := errors.AsType[*liveness.Error](err)
	switch {
	case isTimeout(err):
		what = "it says nothing"
	case errors.Is(err, io.EOF):
		what = "it hangs up"
	case ended && end.Text != "":
		what = fmt.Sprintf("%s (%s)", end.Reason, end.Text)
	case ended:
		what = end.Reason.String()
	}
	return what + ": is it a livenet server on this transport? For another one see --transport, --codec raw and --tls"
}

const refusalHint = ": if it wants a certificate of its clients, show one with --tls-cert and --tls-key"

// refusal is why the peer refused the TLS handshake, or nothing if it did not. A client
// finds out after its own handshake is complete.
func refusal(err error) string {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "remote error" { // by an alert of TLS
		return ""
	}
	return "the server refuses the TLS handshake: " + op.Err.Error()
}

// isNetwork reports whether the network failed, or the peer said why it did,
// as by an alert of TLS.
func isNetwork(err error) bool {
	op, isOp := errors.AsType[*net.OpError](err)
	_, cert := errors.AsType[*tls.CertificateVerificationError](err)
	return isOp && op.Op != "local error" || cert || isTimeout(err)
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return errors.Is(err, context.DeadlineExceeded) || ok && e.Timeout()
}

// innermost is what an error says without the layers around it, which repeat
// the address.
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
