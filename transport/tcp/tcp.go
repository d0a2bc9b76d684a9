package tcp

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/livenet/livenet/transport"
)

// Transport is plain TCP in its zero value.
type Transport struct {
	// TLS, if set, is what a listener needs to be a TLS server, or Dial to be a
	// client. Dial takes the server's name from the address it dials if TLS has
	// none.
	TLS *tls.Config

	// KeepAlive is the kernel's keepalive. Its zero value is off, other than in
	// package net, because the policy above the transport is what judges the
	// peer.
	KeepAlive net.KeepAliveConfig

	// UserTimeout is for how long the kernel sends without hearing an
	// acknowledgement before it gives the connection up (TCP_USER_TIMEOUT,
	// RFC 5482), in whole milliseconds. Zero leaves that to the kernel, which
	// usually takes a quarter of an hour. Systems other than Linux ignore it.
	UserTimeout time.Duration
}

var _ transport.Transport = Transport{}

// Listen binds addr.
func (t Transport) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	config := net.ListenConfig{
		KeepAlive:       -1, // off, unless the next field says on
		KeepAliveConfig: t.KeepAlive,
		Control:         t.control, // accepted connections inherit what it sets
	}
	// What the kernel knows of a peer, and SO_LINGER, are per subflow there.
	config.SetMultipathTCP(false)
	l, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if t.TLS == nil {
		return transport.SingleListener(l.(*net.TCPListener)), nil
	}
	return transport.SingleListener(&tlsListener{l.(*net.TCPListener), t.TLS}), nil
}

// Dial connects to addr and, with TLS, has done the handshake when it returns.
func (t Transport) Dial(ctx context.Context, addr string) (transport.Session, error) {
	dialer := net.Dialer{
		KeepAlive:       -1,
		KeepAliveConfig: t.KeepAlive,
		Control:         t.control,
	}
	dialer.SetMultipathTCP(false)
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if t.TLS == nil {
		return transport.Single(conn), nil
	}
	client, err := tlsClient(ctx, conn, t.TLS, addr)
	if err != nil {
		return nil, err
	}
	return transport.Single(client), nil
}
