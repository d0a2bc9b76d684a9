package main

import (
	"context"
	"net"

	"github.com/livenet/livenet/transport"
)

// Unix is a transport over unix-domain sockets. Its addresses are paths, which
// have to be short: 104 bytes on some systems.
type Unix struct{}

var _ transport.Transport = Unix{}

// Listen makes the socket at path; closing the listener removes it.
func (Unix) Listen(ctx context.Context, path string) (transport.Listener, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	return transport.SingleListener(l), nil
}

// Dial connects to the socket at path.
func (Unix) Dial(ctx context.Context, path string) (transport.Session, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	return transport.Single(conn), nil
}
