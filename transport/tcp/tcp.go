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
	// TLS, if set, is what a listener needs to be a TLS server, or Dial to be a
	// client. Dial takes the server's name from the address it dials if TLS has
	// none.
	TLS *tls.Config

	// KeepAlive is the kernel's keepalive. Its zero value is off, other than in
	// package net, because the policy above the transport is what judges the
	// peer. A listener's [transport.IdleTimeouter] Patience says how soon it gives one
	// up, and a policy that is more patient is refused.
	KeepAlive net.KeepAliveConfig

	// UserTimeout is for how long the kernel sends without hearing an
	// acknowledgement, or finding that the peer has room for more, before it gives
	// the connection up (TCP_USER_TIMEOUT, RFC 5482), in whole milliseconds. So it
	// also ends a peer that is there, but does not read. Zero leaves that to the
	// kernel, which usually takes a quarter of an hour, and bears a peer without room
	// for as long as that acknowledges. Systems other than Linux ignore it.
	UserTimeout time.Duration

	// ReusePort lets listeners of several processes of one user share a port
	// (SO_REUSEPORT), if all of them ask for it. Linux and FreeBSD spread the
	// connections over them by a hash of both addresses; other systems give them
	// to one. Connections that wait for Accept when a listener closes are reset.
	// Where the system can't do it, Listen fails with errors.ErrUnsupported.
	ReusePort bool

	// Parked makes Listen accept connections that cost next to nothing while
	// they are idle: they are [transport.Pollable], which spares a goroutine and
	// its buffer, and are not of type *net.TCPConn, whose bookkeeping takes a
	// kilobyte each. A blocked Read or Write of theirs is a little dearer.
	// Systems other than Linux ignore it.
	Parked bool
}

var _ transport.Transport = Transport{}

// Listen binds addr.
func (t Transport) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	config := net.ListenConfig{
		KeepAlive:       -1, // off, unless the next field says on
		KeepAliveConfig: t.KeepAlive,
		Control:         t.controlListener, // accepted connections inherit what it sets
	}
	// What the kernel knows of a peer, and SO_LINGER, are per subflow there.
	config.SetMultipathTCP(false)
	l, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if t.Parked {
		if l, err = park(l.(*net.TCPListener), t.KeepAlive); err != nil {
			return nil, err
		}
	}
	if t.TLS != nil {
		l = &tlsListener{l, t.TLS}
	}
	if patience := t.patience(); patience > 0 {
		return impatient{transport.SingleListener(l), patience}, nil
	}
	return transport.SingleListener(l), nil
}

// An impatient listener is one whose kernel was told to give up a peer that
// acknowledges nothing.
type impatient struct {
	transport.Listener
	patience time.Duration
}

func (l impatient) IdleTimeout() time.Duration { return l.patience }

// mostUserTimeout is an int of the kernel's, of milliseconds: 24 days.
const mostUserTimeout = math.MaxInt32 * time.Millisecond

// patience is after how long it does at the earliest; 0: it was not told. Of
// keepalive's numbers that are not given, package net's hold, and of those that
// are left to the system, Linux's.
func (t Transport) patience() time.Duration {
	switch { // the first is in the other's place, too
	case t.UserTimeout <= 0 || !hasUserTimeout:
	case t.UserTimeout >= mostUserTimeout:
		return 0 // more can't be had
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
