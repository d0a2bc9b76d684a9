package liveness

import (
	"context"
	"net"
	"syscall"
	"time"

	"github.com/livenet/livenet/codec"
)

// A tcpSocket queries the kernel about a TCP connection: when data or an acknowledgement last
// arrived, even if the program has not read it. A nil tcpSocket has no answers.
type tcpSocket struct {
	raw          syscall.RawConn
	shared       bool // the connection carries several streams
	tls          bool // a TLS handshake comes before the data
	dialed       bool // by this end
	noReader     bool // no Read is pending
	maybeWriting bool // a Write may be pending
}

// tcpInfo is taken from TCP_INFO. Durations are too short by the precision of the kernel's
// clock, never too long.
type tcpInfo struct {
	sinceData time.Duration // since data last arrived
	sinceAck  time.Duration // since data or an acknowledgement last arrived
	sinceSent time.Duration // since data was last sent
	rtt       time.Duration
	received  bool // some data has arrived; before that, sinceData is the connection's age
	unsent    bool // data waits for room in the peer's window

	unanswered       bool // two or more probes or retransmissions in a row were not acknowledged
	zeroWindow       bool // data waits, and the peer's window is zero
	slowWindowProbes bool // zeroWindow, and this kernel's window probes back off without a limit
}

// tcpSocketOf unwraps conn, by its NetConn methods, down to a TCP connection; nil: there is
// none.
func tcpSocketOf(conn any) *tcpSocket {
	tcp, tls := unwrapTCP(conn)
	if tcp == nil {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return &tcpSocket{raw: raw, tls: tls}
}

// A tcpConn is a *net.TCPConn, or a socket of the tcp transport.
type tcpConn interface {
	syscall.Conn
	SetLinger(sec int) error
	SetKeepAliveConfig(net.KeepAliveConfig) error
	Close() error
}

// unwrapTCP returns the TCP connection that conn is or wraps; nil: none. It reports whether
// TLS, or another layer with a handshake, lies between.
func unwrapTCP(conn any) (tcp tcpConn, tls bool) {
	for {
		if _, ok := conn.(interface{ HandshakeContext(context.Context) error }); ok {
			tls = true
		}
		switch c := conn.(type) {
		case tcpConn:
			return c, tls
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil, tls
		}
	}
}

// lastHeard returns how long ago evidence of the given kind last arrived, if the kernel can
// know that. peerSeen says that some input has been read. The result is sure if only the peer
// can be the cause of the silence: it is not if input lies unread, since the receive buffer may
// be full, or the reason of an end may be in it.
func (s *tcpSocket) lastHeard(kind codec.Evidence, peerSeen bool) (ago time.Duration, sure, ok bool) {
	i, ok := s.info()
	if !ok || !i.received {
		return 0, false, false
	}
	blocked := i.unsent && s.maybeWriting // the peer doesn't read
	unread, full := s.unread()
	switch {
	case !unread:
	case full && s.noReader && (s.dialed || !blocked):
		return 0, false, true // this end doesn't read, so the peer's silence proves nothing
	case kind > codec.Bytes && blocked:
		return 0, false, false // the input may not be evidence, and will not be read
	}
	// The kernel sees bytes, not messages, and of a shared connection not which stream they
	// belong to. Input that was read has renewed the lease if it was evidence. Unread input
	// is taken for evidence.
	if (kind > codec.Bytes || s.shared || s.tls && !peerSeen) && !unread {
		return 0, false, false
	}
	return i.sinceData, !unread && !s.dialed, true
}

// lastAcked returns how long ago the peer's kernel last acknowledged something. It is ok once
// the peer has sent something (peerSeen), and sure if the kernel waits for an acknowledgement.
// If TCP_INFO can't be read, keepalive judges the peer, and ends the connection with
// [syscall.ETIMEDOUT].
func (s *tcpSocket) lastAcked(peerSeen bool) (ago time.Duration, sure, ok bool) {
	if s == nil {
		return 0, false, false
	}
	i, known := s.info()
	switch {
	case !known:
		return 0, true, peerSeen
	case !peerSeen && !i.received:
		return 0, false, false
	case !peerSeen && s.tls:
		if unread, _ := s.unread(); !unread {
			return 0, false, false
		}
		return i.sinceAck, i.unanswered, true
	case i.slowWindowProbes && !i.unanswered: // the latest window probe may have been just now
		return 0, true, true
	}
	return i.sinceAck, i.unanswered, true
}

// zeroWindowFor reports whether an accepted peer's window has been zero for d while data
// waits, and its kernel has answered since: the window is zero since data was last sent.
func (s *tcpSocket) zeroWindowFor(d time.Duration) bool {
	i, ok := s.info()
	return ok && !s.dialed && i.zeroWindow && !i.unanswered && i.sinceSent >= d && i.sinceAck <= d+d/2
}

// lastData returns how long ago data last arrived. It is not ok for a shared connection: the
// kernel doesn't know which stream the data belongs to.
func (s *tcpSocket) lastData() (ago time.Duration, ok bool) {
	if s == nil || s.shared {
		return 0, false
	}
	i, ok := s.info()
	return i.sinceData, ok && i.received
}

func (s *tcpSocket) rtt() (time.Duration, bool) {
	i, ok := s.info()
	return i.rtt, ok && i.rtt > 0
}
