package load

import (
	"context"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/tcp"
)

// spread is plain TCP whose connections come from several addresses in turn.
type spread struct {
	tcp.Transport
	sources Sources
	next    atomic.Uint32
}

func (s *spread) Dial(ctx context.Context, addr string) (transport.Session, error) {
	source := s.sources.At(int(s.next.Add(1)))
	dialer := net.Dialer{
		KeepAlive: -1,
		LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0)),
		Control:   bindNoPort,
	}
	dialer.SetMultipathTCP(false)
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return transport.Single(conn), nil
}

// bindNoPort has the kernel choose the port when it knows the destination: a
// port may then be taken once for each.
func bindNoPort(_, _ string, c syscall.RawConn) error {
	var err error
	if failed := c.Control(func(fd uintptr) {
		err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1))
	}); failed != nil {
		return failed
	}
	return err
}

func spreadOver(sources Sources) transport.Transport { return &spread{sources: sources} }
