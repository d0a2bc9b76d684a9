// Package stack makes a transport by name. It sets the timeouts of lower layers (QUIC's idle
// timeout, TCP's user timeout) so that they are longer than the liveness policy's: the
// policy decides first.
package stack

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"math"
	"net"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/tcp"
)

// Limits are the limits of the lower layers.
type Limits struct {
	// IdleTimeout is how long a layer may receive nothing, or no acknowledgement, before
	// it closes the connection. It must be longer than the policy's timeout: see
	// [IdleTimeout].
	IdleTimeout time.Duration

	// PingInterval is how often the transport pings an idle peer (QUIC only). 0 means
	// half of IdleTimeout.
	PingInterval time.Duration

	// Handshake is how long a handshake may take.
	Handshake time.Duration

	// Streams is how many streams the peer may have open in a session (QUIC only). 0
	// means the transport's default.
	Streams int

	// ReusePort lets listeners of several processes share a port.
	ReusePort bool

	// ResetKey is QUIC's stateless reset key; see [HasResetKey]. Nil means none.
	ResetKey *[32]byte

	// Parked makes listeners accept connections that can be parked; see [Parks].
	Parked bool

	// Preamble reads the bytes of a proxy before the peer's own bytes, if the transport
	// supports it: see [tcp.Transport]. Nil means none.
	Preamble func(net.Conn) (net.Addr, error)

	// KeepAlive turns on the kernel's keepalive, for a connection without a policy.
	KeepAlive bool

	// KeepAliveIdle is how long a connection is idle before keepalive begins. 0 means
	// package net's default.
	KeepAliveIdle time.Duration
}

// New makes the transport of that name. A nil conf means no TLS. A listener of a transport
// that always has TLS needs one.
func New(name string, conf *tls.Config, limits Limits) (transport.Transport, error) {
	k := kind(name)
	if k.build == nil {
		return nil, fmt.Errorf("stack: no transport is called %q", name)
	}
	return k.build(conf, limits), nil
}

// tcp returns the TCP transport, which yamux uses as well.
func (l Limits) tcp(conf *tls.Config) tcp.Transport {
	return tcp.Transport{
		TLS:         conf,
		KeepAlive:   net.KeepAliveConfig{Enable: l.KeepAlive, Idle: l.KeepAliveIdle},
		UserTimeout: l.userTimeout(),
		ReusePort:   l.ReusePort,
		Preamble:    l.Preamble,
	}
}

// defaultUserTimeout is how long Linux retransmits unacknowledged data by default.
const defaultUserTimeout = 15 * time.Minute

// userTimeout returns TCP_USER_TIMEOUT, or 0 if the kernel's default is long enough. It is
// better not to set it: if set, the kernel also closes connections to peers that acknowledge
// and send, but do not read.
func (l Limits) userTimeout() time.Duration {
	if l.IdleTimeout < defaultUserTimeout {
		return 0
	}
	return l.IdleTimeout
}

// quic returns quic-go's config. Its handshake may take twice HandshakeIdleTimeout.
//
// A peer's idle timeout that is shorter than ours counts, and quic-go does not report it. So
// that it does not end a session before the policy does, QUIC pings a peer that has been
// silent for half of the shorter one (quic-go cuts KeepAlivePeriod to the half). If the
// policy's timeout is shorter than that, no ping is ever sent.
func (l Limits) quic() *quicgo.Config {
	return &quicgo.Config{
		MaxIdleTimeout:       l.IdleTimeout,
		HandshakeIdleTimeout: l.Handshake / 2,
		KeepAlivePeriod:      cmp.Or(l.PingInterval, l.IdleTimeout/2),
		MaxIncomingStreams:   int64(l.Streams),
	}
}

const (
	minIdleTimeout   = 30 * time.Second
	idleTimeoutSlack = 5 * time.Second
)

// IdleTimeout returns the lower layers' idle timeout for a policy whose longest silence is
// timeout. It leaves time for a probe, its answer and a stall of this process.
func IdleTimeout(timeout time.Duration) time.Duration {
	if timeout > (math.MaxInt64-idleTimeoutSlack)/2 {
		return math.MaxInt64
	}
	return max(2*timeout+idleTimeoutSlack, minIdleTimeout)
}
