// Package stack builds a transport from its name, and sets the limits of the
// layers beneath it such that they leave the judging to the policy above: what
// they can't do without (QUIC's idle timeout, the kernel's patience with a peer
// that acknowledges nothing) is a backstop, looser than the policy.
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

// Limits are what the layers beneath the transport keep to.
type Limits struct {
	// Silence is for how long a layer bears a peer that it does not hear, or
	// that acknowledges nothing. It must be longer than whatever the policy
	// bears: see [Backstop].
	Silence time.Duration

	// Ask is how often an idle peer is asked for an answer, where the transport does
	// that by itself (QUIC). 0 means as seldom as will do.
	Ask time.Duration

	// Handshake is how long a handshake may take.
	Handshake time.Duration

	// Streams is how many streams of a session the peer may have open at a time,
	// where the transport can tell it so (QUIC). 0 means the transport's own limit.
	Streams int

	// ReusePort lets listeners of several processes share a port.
	ReusePort bool

	// ResetKey is by which sessions of a listener that was killed are reset, where the
	// transport can do that; see [HasResetKey]. Nil: they are not.
	ResetKey *[32]byte

	// Parked makes connections that park, where the transport has them; see
	// [Parks].
	Parked bool

	// Preamble reads what comes before the peer's own bytes, where the transport has it:
	// see [tcp.Transport]. Nil: nothing does.
	Preamble func(net.Conn) (net.Addr, error)

	// KeepAlive turns on the kernel's keepalive, for a connection that no
	// policy judges.
	KeepAlive bool

	// KeepAliveIdle is how long the connection is to be idle before that. 0 means
	// package net's choice.
	KeepAliveIdle time.Duration
}

// New builds the transport of that name. Without a TLS config there is no TLS,
// except on a transport that can't do without: to listen, it needs one.
func New(name string, conf *tls.Config, limits Limits) (transport.Transport, error) {
	k := kind(name)
	if k.build == nil {
		return nil, fmt.Errorf("stack: no transport is called %q", name)
	}
	return k.build(conf, limits), nil
}

// tcp is TCP within the limits, which all that runs on it shares.
func (l Limits) tcp(conf *tls.Config) tcp.Transport {
	return tcp.Transport{
		TLS:         conf,
		KeepAlive:   net.KeepAliveConfig{Enable: l.KeepAlive, Idle: l.KeepAliveIdle},
		UserTimeout: l.userTimeout(),
		ReusePort:   l.ReusePort,
		Preamble:    l.Preamble,
	}
}

// kernelsOwn is for how long Linux sends, by itself, what nobody acknowledges.
const kernelsOwn = 15 * time.Minute

// userTimeout is TCP's, or 0 where the kernel's own patience is longer than it must
// be. It is for the better that one isn't set: with it, the kernel also gives up a
// peer that acknowledges everything, and sends, but does not read.
func (l Limits) userTimeout() time.Duration {
	if l.Silence < kernelsOwn {
		return 0
	}
	return l.Silence
}

// quic is the limits in quic-go's terms. Its handshake may take twice the
// idle timeout that holds meanwhile.
//
// The peer's idle timeout counts as well, if it is shorter, and can't be known.
// So that it does not end a session over a policy's head, QUIC pings a peer
// that has been silent for half of the shorter one (quic-go sees to the half);
// where the policies are shorter than that, no ping is ever sent.
func (l Limits) quic() *quicgo.Config {
	return &quicgo.Config{
		MaxIdleTimeout:       l.Silence,
		HandshakeIdleTimeout: l.Handshake / 2,
		KeepAlivePeriod:      cmp.Or(l.Ask, l.Silence/2),
		MaxIncomingStreams:   int64(l.Streams),
	}
}

const (
	leastBackstop = 30 * time.Second
	backstopSlack = 5 * time.Second
)

// Backstop is the silence that the lower layers may bear when a policy bears
// patience at most. It leaves room for everything that a policy does before it
// gives a peer up: asking it, waiting for the answer, a stall of this process.
func Backstop(patience time.Duration) time.Duration {
	if patience > (math.MaxInt64-backstopSlack)/2 {
		return math.MaxInt64
	}
	return max(2*patience+backstopSlack, leastBackstop)
}
