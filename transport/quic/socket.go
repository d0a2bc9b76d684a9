package quic

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"

	quicgo "github.com/quic-go/quic-go"
)

// A socket is the UDP socket to which quic-go writes. quic-go closes a connection at once
// when the kernel refuses a datagram. But a missing route, no memory or a full firewall
// table may last only a moment. So once there is a session, a refused datagram counts as
// lost on the network, and QUIC sends it again. Before that, it makes a dial fail.
type socket struct {
	udpConn
	dropRefused atomic.Bool // set by the first session
}

// udpConn has the methods of a *net.UDPConn that quic-go needs.
type udpConn interface {
	net.Conn
	quicgo.OOBCapablePacketConn
	SetWriteBuffer(bytes int) error
}

func (s *socket) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	n, oobn, err = s.udpConn.WriteMsgUDP(b, oob, addr)
	if s.drops(err) {
		return len(b), len(oob), nil
	}
	return n, oobn, err
}

// WriteTo is called by quic-go on systems without out-of-band data.
func (s *socket) WriteTo(b []byte, addr net.Addr) (int, error) {
	n, err := s.udpConn.WriteTo(b, addr)
	if s.drops(err) {
		return len(b), nil
	}
	return n, err
}

// drops reports whether a datagram that the kernel refused with err counts as lost. quic-go
// has to see the errors of a datagram that is too long for the path (path MTU discovery) or
// for segmentation by the device.
func (s *socket) drops(err error) bool {
	if err == nil || !s.dropRefused.Load() {
		return false
	}
	_, refused := errors.AsType[*os.SyscallError](err)
	return refused && !errors.Is(err, tooLong) && !errors.Is(err, syscall.EIO)
}
