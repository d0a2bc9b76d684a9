package tcp

import (
	"context"
	"crypto/tls"
	"math"
	"net"
	"syscall"
	"time"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/internal/reuseport"
)

// Transport is plain TCP in its zero value.
type Transport struct {
	// TLS makes listeners TLS servers and Dial a TLS client; nil means plain TCP. If
	// TLS.ServerName is empty, Dial uses the host of the address.
	TLS *tls.Config

	// KeepAlive configures the kernel's keepalive. Unlike in package net, its zero value
	// is off, because the liveness policy decides about the peer. A listener is a
	// [transport.IdleTimeouter]: it reports the time after which keepalive closes a silent
	// connection, and Serve fails for a policy with a longer timeout.
	KeepAlive net.KeepAliveConfig

	// UserTimeout is how long sent data may stay unacknowledged, or the peer's window
	// closed, before the kernel closes the connection (TCP_USER_TIMEOUT, RFC 5482), in
	// whole milliseconds. So it also ends a live peer that does not read. Zero means the
	// kernel's default: usually about 15 minutes without an acknowledgement, and no limit
	// for a closed window. It has an effect on Linux only.
	UserTimeout time.Duration

	// ReusePort lets listeners of several processes of one user share a port
	// (SO_REUSEPORT). All of them must set it. Linux and FreeBSD spread the connections
	// over the listeners by a hash of both addresses; other systems give all connections
	// to one. When a listener closes, connections waiting for its Accept are reset. If
	// the system has no such option, Listen returns errors.ErrUnsupported.
	ReusePort bool

	// Parked makes Listen accept connections that take little memory while they are
	// idle. They are [transport.Pollable], so that waiting for input needs no goroutine
	// and no buffer, and they are not of type *net.TCPConn, which takes a kilobyte. A Read
	// or Write that blocks is a little slower. It has an effect on Linux only.
	Parked bool

	// Preamble, if set, reads a header, such as that of the PROXY protocol, from each accepted
	// connection, before TLS. It must not read beyond the header. It returns what RemoteAddr
	// returns from then on, nil meaning the connection's own address; an error ends the
	// connection. The first Read calls it, so it delays no Accept, and its reads have that
	// Read's deadline. A connection with a Preamble isn't parked.
	Preamble func(net.Conn) (peer net.Addr, err error)
}

var _ transport.Transport = Transport{}

// Listen binds addr, "host:port".
func (t Transport) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	config := net.ListenConfig{
		KeepAlive:       -1, // off, unless the next field says on
		KeepAliveConfig: t.KeepAlive,
		Control:         t.controlListener, // accepted connections inherit what it sets
	}
	// With multipath TCP, TCP_INFO and SO_LINGER are per subflow.
	config.SetMultipathTCP(false)
	l, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	switch {
	case t.Preamble != nil:
		l = &preambleListener{l, t.Preamble}
	case t.Parked:
		if l, err = park(l.(*net.TCPListener), t.KeepAlive); err != nil {
			return nil, err
		}
	}
	if t.TLS != nil {
		l = &tlsListener{l, t.TLS}
	}
	if timeout := t.idleTimeout(); timeout > 0 {
		return idleTimeoutListener{transport.SingleListener(l), timeout}, nil
	}
	return transport.SingleListener(l), nil
}

// An idleTimeoutListener is a listener whose kernel closes a connection when the peer has
// acknowledged nothing for timeout.
type idleTimeoutListener struct {
	transport.Listener
	timeout time.Duration
}

func (l idleTimeoutListener) IdleTimeout() time.Duration { return l.timeout }

// maxUserTimeout is the kernel's maximum: 2^31-1 milliseconds, or 24 days.
const maxUserTimeout = math.MaxInt32 * time.Millisecond

// idleTimeout returns after how long without an acknowledgement the kernel closes a
// connection, at the earliest; 0 means never. For a zero field of KeepAlive it assumes
// package net's default, and for a negative one Linux's.
func (t Transport) idleTimeout() time.Duration {
	switch { // if both are set, the kernel applies UserTimeout to keepalive as well
	case t.UserTimeout <= 0 || !hasUserTimeout:
	case t.UserTimeout >= maxUserTimeout:
		return 0 // the kernel can't wait longer
	default:
		return t.UserTimeout
	}
	k := t.KeepAlive
	if !k.Enable {
		return 0
	}
	choose := func(given, net, system time.Duration) time.Duration {
		switch {
		case given < 0:
			return system
		case given == 0:
			return net
		}
		return given
	}
	idle := choose(k.Idle, 15*time.Second, 2*time.Hour)
	every := choose(k.Interval, 15*time.Second, 75*time.Second)
	return idle + every*choose(time.Duration(k.Count), 9, 9)
}

func (t Transport) controlListener(network, addr string, c syscall.RawConn) error {
	if t.ReusePort {
		if err := reuseport.Control(network, addr, c); err != nil {
			return err
		}
	}
	return t.control(network, addr, c)
}

// Dial connects to addr and does the TLS handshake, if any, before it returns. It returns the
// error of either.
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
