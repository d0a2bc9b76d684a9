package liveness

import (
	"net"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/transport"
)

// What a Conn does as the owner of its state.

var _ owner = (*Conn)(nil)

// addrs caches the addresses of a wrapped connection: the first call may wait, say for the
// header of the PROXY protocol.
func (c *Conn) addrs() (local, remote net.Addr) {
	if !c.isWrapped() {
		return c.stream.LocalAddr(), c.stream.RemoteAddr()
	}
	r := c.ensureExtra()
	a := r.addrs.Load()
	if a == nil {
		a = &[2]net.Addr{c.stream.LocalAddr(), c.stream.RemoteAddr()}
		r.addrs.Store(a)
	}
	return a[0], a[1]
}

// tcpSocket makes a new one each time, to save memory: it is seldom needed.
func (c *Conn) tcpSocket() *tcpSocket {
	if c.multiplexed {
		return nil
	}
	s := tcpSocketOf(c.stream)
	if s != nil {
		s.dialed, s.noReader, s.maybeWriting = c.dialed != nil, !c.isReading(), c.isWriting()
	}
	return s
}

func (c *Conn) transportConn() any {
	if c.multiplexed && c.dialed != nil {
		return c.dialed.sess
	}
	return c.stream
}

func (c *Conn) session() transport.Session {
	if c.dialed == nil {
		return nil
	}
	return c.dialed.sess
}

func (c *Conn) preparePolicy(p Policy) (sample time.Duration) {
	evidence := c.state.cfg.Evidence
	switch {
	case c.multiplexed && c.dialed != nil && evidence == codec.Acks:
		return sampleInterval(c.dialed.sess, p)
	case c.multiplexed:
	case evidence == codec.Acks, evidence == 0 && c.isWrapped():
		c.enableAcks(p)
	}
	return 0
}

func (c *Conn) lastHeard() (ago time.Duration, sure, ok bool) {
	switch {
	case c.bits.Load()&acksAreEvidence != 0:
		return c.lastAcked()
	case c.multiplexed && c.state.cfg.Evidence == codec.Acks && c.dialed != nil:
		return 0, false, c.state.sample(c.dialed.sess, true)
	case c.multiplexed && c.state.cfg.Evidence == codec.Acks: // one stack answers for the session's streams
		return c.state.parent.silence(), false, true
	}
	return c.tcpSocket().lastHeard(c.state.cfg.Evidence, c.state.in.Load() > 0)
}

// isReading reports whether a Read is pending, or none is needed any more.
func (c *Conn) isReading() bool {
	if c.srv != nil && c.srv.Data != nil {
		return c.bits.Load()&inData == 0
	}
	if c.bits.Load()&waitingToRead != 0 || !c.readLock.TryLock() {
		return true
	}
	defer c.readLock.Unlock()
	return c.framed != nil && c.framed.in.over != nil
}

// isWriting reports whether a Write may be pending. Without a codec that isn't known.
func (c *Conn) isWriting() bool { return c.framed == nil || c.framed.out.writing.Load() }

func (c *Conn) counters() *counters {
	switch {
	case c.srv == nil:
		return nil
	case c.state.parent != nil:
		return &c.srv.streamCounts
	}
	return &c.srv.sessionCounts
}

// probe pings the peer, and samples its stack. It returns false, so that it is called
// again, only if the peer's window is full.
func (c *Conn) probe() bool {
	if c.multiplexed && c.dialed != nil && c.state.cfg.Evidence == codec.Acks {
		c.state.sample(c.dialed.sess, true)
	}
	return c.framed == nil || c.ping() || !c.framed.out.blocked.Load()
}

// ping sends a Ping. It returns false if none can be sent now, or the codec has none. It
// sends nothing to a peer that was never heard: see sendClose.
func (c *Conn) ping() bool {
	if c.framed == nil || c.dialed == nil && c.state.in.Load() == 0 {
		return false
	}
	return c.framed.out.sendPing()
}

// drain asks the peer to finish. A connection whose codec has no GoAway stays open until
// the drain's time is over; one whose peer was never heard is ended at once.
func (c *Conn) drain() {
	if !c.sendGoAway() {
		c.state.end(ending{Error: Error{Reason: Draining}})
	}
}

// retryAfter returns how long the peer should wait before it connects again; 0: not set.
func (c *Conn) retryAfter() time.Duration {
	if c.srv == nil {
		return 0
	}
	return c.srv.RetryAfter
}

// sendGoAway asks the peer to finish, if the codec can. It returns false if the peer was
// never heard.
func (c *Conn) sendGoAway() bool {
	if c.state.in.Load() == 0 {
		return false
	}
	c.state.reach(draining)
	if c.framed != nil && c.framed.coder.CanClose() {
		c.framed.out.queue.Or(goAwayFrame)
		c.framed.out.sendControl()
	}
	return true
}
