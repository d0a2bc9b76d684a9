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

// LeastAckTimeout is the shortest timeout under which acknowledgements can be
// evidence: TCP's keepalive counts in whole seconds.
const LeastAckTimeout = 3 * time.Second

// checkAcks refuses a policy under which the peer's stack can't be asked in time.
func (c *Config) checkAcks(p Policy) error {
	if d, ok := silenceTimeout(p); c.Evidence == codec.Acks && ok && d < LeastAckTimeout {
		return fmt.Errorf("liveness: evidence of acknowledgements needs a timeout of at least %v, and the policy is %v", LeastAckTimeout, describe(p))
	}
	return nil
}

// enableAcks makes what the peer's kernel acknowledges evidence, where this is TCP. A
// connection that is judged meanwhile is judged by it all the time.
func (c *Conn) enableAcks(p Policy) {
	if d, ok := silenceTimeout(p); ok && d >= LeastAckTimeout && c.keepAlive(d) {
		c.bits.Or(acksAreEvidence)
	} else {
		c.bits.And(^uint32(acksAreEvidence))
	}
}

// keepAlive has the kernel ask an idle peer three times in timeout. It reports whether
// it can.
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

// keepAlive asks an idle peer after a third of timeout, and then every sixth; or somewhat
// sooner, so that connections that began together aren't asked together, which would
// overflow queues. The kernel gives the peer up at the timeout if it judges, since this
// end can't see the answers; otherwise long after it, so as not to pre-empt the policy.
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

// seconds is d in whole seconds, which are what keepalive counts in, and no more of them
// than Linux takes.
func seconds(d time.Duration) time.Duration {
	return min(max(d.Truncate(time.Second), time.Second), math.MaxInt16*time.Second)
}

// jittered is d, in whole seconds, less up to a third of it at random.
func jittered(d time.Duration) time.Duration {
	return d - rand.N(d/(3*time.Second)+1)*time.Second
}

// lastAcked is how long ago the peer's stack last answered.
func (c *Conn) lastAcked() (ago time.Duration, sure, ok bool) {
	s := c.tcpSocket()
	if s == nil {
		return 0, false, false
	}
	return s.lastAcked(c.peerSeen())
}

// peerSeen reports whether the peer has shown by itself that it is there: it was dialled,
// or it has sent something.
func (c *Conn) peerSeen() bool { return c.dialed != nil || c.state.in.Load() > 0 }

// kernelGaveUp reports whether err is the kernel's end of a peer that acknowledges nothing.
func (c *Conn) kernelGaveUp(err error) bool {
	return c.bits.Load()&acksAreEvidence != 0 && errors.Is(err, syscall.ETIMEDOUT)
}

// samplesPerTimeout is how often in a timeout a transport is asked whether the peer's
// stack has answered: it can't tell when.
const samplesPerTimeout = 4

// sampleInterval returns how often sess is to be asked under p; 0: never.
func sampleInterval(sess any, p Policy) time.Duration {
	d, ok := silenceTimeout(p)
	if _, answers := transport.As[transport.Answerer](sess); !ok || !answers {
		return 0
	}
	return d / samplesPerTimeout
}

// sample renews the lease if the peer's stack has answered since the last sample.
func (s *state) sample(sess any, begun bool) (answered bool) {
	a, ok := transport.As[transport.Answerer](sess)
	if ok = ok && a.Answered() && begun; ok {
		s.lease.Renew()
	}
	return ok
}

// checkKeepAlive refuses a transport that would not ask an idle peer in time.
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
		return fmt.Errorf("liveness: the transport asks an idle peer for an answer every %v only: set that to a third of the timeout, %v", every, d/3)
	}
	return nil
}
