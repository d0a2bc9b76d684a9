package liveness

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"syscall"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/transport"
)

// LeastAckTimeout is the shortest timeout with which acknowledgements can be evidence: TCP
// keepalive counts in whole seconds.
const LeastAckTimeout = 3 * time.Second

// checkAcks returns an error for a policy whose timeout is too short for keepalive.
func (c *Config) checkAcks(p Policy) error {
	if d, ok := silenceTimeout(p); c.Evidence == codec.Acks && ok && d < LeastAckTimeout {
		return fmt.Errorf("liveness: evidence of acknowledgements needs a timeout of at least %v, and the policy is %v", LeastAckTimeout, describe(p))
	}
	return nil
}

// enableAcks makes acknowledgements evidence if the connection is TCP, and turns keepalive on.
// The bit stays set throughout if it was, since the engine may be judging meanwhile.
func (c *Conn) enableAcks(p Policy) {
	if d, ok := silenceTimeout(p); ok && d >= LeastAckTimeout && c.keepAlive(d) {
		c.bits.Or(acksAreEvidence)
	} else {
		c.bits.And(^uint32(acksAreEvidence))
	}
}

// keepAlive has the kernel probe an idle peer three times in timeout. It returns false if the
// connection isn't TCP.
func (c *Conn) keepAlive(timeout time.Duration) bool {
	tcp, _ := unwrapTCP(c.stream)
	socket := tcpSocketOf(c.stream)
	_, known := socket.info()
	if socket == nil || tcp.SetKeepAliveConfig(keepAlive(timeout, !known)) != nil {
		return false
	}
	socket.limitBackoff(timeout / 3)
	return true
}

// keepAlive probes an idle peer after a third of timeout and then every sixth; or somewhat
// sooner, at random, so that connections that began together don't overflow queues. If the
// kernel judges, since TCP_INFO can't be read, it ends the connection at the timeout; else long
// after it, so as not to pre-empt the policy.
func keepAlive(timeout time.Duration, kernelJudges bool) net.KeepAliveConfig {
	k := net.KeepAliveConfig{Enable: true, Idle: seconds(timeout / 3), Interval: seconds(timeout / 6)}
	if !kernelJudges {
		k.Idle, k.Interval = jittered(k.Idle), jittered(k.Interval)
	}
	k.Count = int((timeout - k.Idle + k.Interval - 1) / k.Interval)
	if !kernelJudges {
		k.Count = min(4*k.Count, 127)
	}
	return k
}

// seconds truncates d to whole seconds, keepalive's unit: at least one, and at most what
// Linux takes.
func seconds(d time.Duration) time.Duration {
	return min(max(d.Truncate(time.Second), time.Second), math.MaxInt16*time.Second)
}

// jittered shortens d at random by up to a third, in whole seconds.
func jittered(d time.Duration) time.Duration {
	return d - rand.N(d/(3*time.Second)+1)*time.Second
}

// lastAcked returns how long ago the peer's stack last answered; see [tcpSocket.lastAcked].
func (c *Conn) lastAcked() (ago time.Duration, sure, ok bool) {
	s := c.tcpSocket()
	if s == nil {
		return 0, false, false
	}
	return s.lastAcked(c.peerSeen())
}

// peerSeen reports whether the peer was dialled or has sent something. Before that,
// acknowledgements are no evidence: a handshake is not enough.
func (c *Conn) peerSeen() bool { return c.dialed != nil || c.state.in.Load() > 0 }

// kernelGaveUp reports whether err says that the kernel ended the connection, since the peer
// acknowledged nothing.
func (c *Conn) kernelGaveUp(err error) bool {
	return c.bits.Load()&acksAreEvidence != 0 && errors.Is(err, syscall.ETIMEDOUT)
}

// samplesPerTimeout is how often in a timeout a transport is sampled: it says whether the
// peer's stack has answered since the last sample, but not when.
const samplesPerTimeout = 4

// sampleInterval returns the interval at which to sample sess under p; 0: never.
func sampleInterval(sess any, p Policy) time.Duration {
	d, ok := silenceTimeout(p)
	if _, answers := transport.As[transport.Answerer](sess); !ok || !answers {
		return 0
	}
	return d / samplesPerTimeout
}

// sample renews the lease if the peer's stack has answered since the last sample.
func (s *state) sample(sess any, peerSeen bool) (answered bool) {
	a, ok := transport.As[transport.Answerer](sess)
	if ok = ok && a.Answered() && peerSeen; ok {
		s.lease.Renew()
	}
	return ok
}

// checkKeepAlive returns an error for a transport whose keepalive is off or too slow for p.
func (c *Config) checkKeepAlive(x any, p Policy) error {
	k, ok := transport.As[transport.KeepAliver](x)
	d, judges := silenceTimeout(p)
	if c.Evidence != codec.Acks || !ok || !judges {
		return nil
	}
	switch every := k.KeepAlive(); {
	case every == 0:
		return fmt.Errorf("liveness: evidence of acknowledgements needs the transport's keepalive: set it to a third of the timeout, %v", d/3)
	case every > d/2:
		return fmt.Errorf("liveness: the transport's keepalive interval, %v, is too long: set it to a third of the timeout, %v", every, d/3)
	}
	return nil
}
