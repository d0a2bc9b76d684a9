package quic

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"

	quicgo "github.com/quic-go/quic-go"
)

// A socket is a UDP socket as quic-go writes to it. Quic-go gives up a connection at
// once when the kernel refuses a datagram; but that there is no route for a moment, no
// memory, or no place in a firewall's table says nothing of the peer. So once there
// are sessions, such a datagram is lost like one that is lost on its way, and is sent
// again; until then it is why a dial fails.
type socket struct {
	udpConn
	bears atomic.Bool
}

// udpConn is what quic-go needs of a *net.UDPConn.
type udpConn interface {
	net.Conn
	quicgo.OOBCapablePacketConn
	SetWriteBuffer(bytes int) error
}

func (s *socket) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	n, oobn, err = s.udpConn.WriteMsgUDP(b, oob, addr)
	if s.loses(err) {
		return len(b), len(oob), nil
	}
	return n, oobn, err
}

// WriteTo is what quic-go calls on systems where it asks for nothing special.
func (s *socket) WriteTo(b []byte, addr net.Addr) (int, error) {
	n, err := s.udpConn.WriteTo(b, addr)
	if s.loses(err) {
		return len(b), nil
	}
	return n, err
}

// loses reports whether a datagram is lost that the kernel has refused with err. Of
// those that are too long for the path, or for the device to cut up, quic-go wants
// to hear.
func (s *socket) loses(err error) bool {
	if err == nil || !s.bears.Load() {
		return false
	}
	_, refused := errors.AsType[*os.SyscallError](err)
	return refused && !errors.Is(err, tooLong) && !errors.Is(err, syscall.EIO)
}
