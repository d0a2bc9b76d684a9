package liveness

import (
	"context"
	"net"
	"syscall"
	"time"

	"github.com/livenet/livenet/codec"
)

// A tcpSocket asks the kernel about a TCP connection: when data or an
// acknowledgement last arrived, even if the program has not read it. The nil socket
// knows nothing.
type tcpSocket struct {
	raw      syscall.RawConn
	shared   bool // the connection carries more than what is judged
	tls      bool // a handshake comes before the data
	dialed   bool // the peer was dialled: what it sends is mostly an answer
	noReader bool // no one is reading from it
	writing  bool // someone may be writing to it
}

// tcpInfo is what the kernel says. Durations are too short by the precision of its
// clock, never too long.
type tcpInfo struct {
	sinceData time.Duration // since data last arrived
	sinceAck  time.Duration // since anything did: data, or an acknowledgement
	sinceSent time.Duration // since data was last sent
	rtt       time.Duration
	received  bool // data has arrived at all: until then sinceData is the connection's age
	unsent    bool // data to be sent waits for room in the peer's window

	unanswered       bool // for an acknowledgement that the kernel asked for, more than once
	zeroWindow       bool // data waits, and the peer has no room for it
	slowWindowProbes bool // the peer has no room, and this kernel asks whether it has ever more seldom
}

// tcpSocketOf finds the TCP connection beneath conn, through the NetConn methods
// of what wraps it.
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

// A tcpConn is a *net.TCPConn, or what stands for one.
type tcpConn interface {
	syscall.Conn
	SetLinger(sec int) error
	SetKeepAliveConfig(net.KeepAliveConfig) error
	Close() error
}

// unwrapTCP returns the TCP connection that conn is, or wraps, and whether something
// that begins with a handshake lies between, as TLS does.
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

// lastHeard returns how long ago the peer sent evidence of the kind asked for, if the
// kernel can know that; begun says that some has been read. It is sure if nothing
// but the peer can have kept it from being heard since: what lies unread may be
// more than evidence, or all that there was room for.
func (s *tcpSocket) lastHeard(kind codec.Evidence, begun bool) (ago time.Duration, sure, ok bool) {
	i, ok := s.info()
	if !ok || !i.received {
		return 0, false, false
	}
	stuck := i.unsent && s.writing // the peer doesn't take what is written to it
	unread, full := s.unread()
	switch {
	case !unread:
	case full && s.noReader && (s.dialed || !stuck):
		return 0, false, true // who doesn't read can't judge
	case kind > codec.Bytes && stuck:
		return 0, false, false // it may be anything, and will not be read
	}
	// The kernel sees bytes, not messages, and on a shared connection not
	// whose. What has been read has been judged for what it was; what has not
	// been read is taken for the best that it may be.
	if (kind > codec.Bytes || s.shared || s.tls && !begun) && !unread {
		return 0, false, false
	}
	return i.sinceData, !unread && !s.dialed, true
}

// lastAcked is lastHeard where every answer of the peer's kernel counts, once the peer
// has sent something. It is sure if the kernel waits for an answer. Where the kernel
// doesn't tell, its keepalive judges the peer, and an end by that is
// [syscall.ETIMEDOUT].
func (s *tcpSocket) lastAcked(begun bool) (ago time.Duration, sure, ok bool) {
	if s == nil {
		return 0, false, false
	}
	i, known := s.info()
	switch {
	case !known:
		return 0, true, begun
	case !begun && !i.received:
		return 0, false, false
	case !begun && s.tls:
		if unread, _ := s.unread(); !unread {
			return 0, false, false
		}
		return i.sinceAck, i.unanswered, true
	case i.slowWindowProbes && !i.unanswered: // it may have been asked just now
		return 0, true, true
	}
	return i.sinceAck, i.unanswered, true
}

// zeroWindowFor reports whether an accepted peer has had no room for d for what waits to be
// sent to it, and its kernel has answered since: a zero window has been one since data was
// last sent.
func (s *tcpSocket) zeroWindowFor(d time.Duration) bool {
	i, ok := s.info()
	return ok && !s.dialed && i.zeroWindow && !i.unanswered && i.sinceSent >= d && i.sinceAck <= d
}

// lastData returns how long ago data last arrived, whatever it was. Of a shared
// connection nobody knows whose it was.
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
