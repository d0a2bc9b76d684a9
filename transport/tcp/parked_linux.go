package tcp

import (
	"cmp"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A parkedListener accepts connections as sockets. It has a file descriptor of its own,
// because a *net.TCPListener can't accept anything but *net.TCPConn.
type parkedListener struct {
	file  *os.File
	conn  syscall.RawConn
	addr  *net.TCPAddr
	local *net.TCPAddr // of every connection; nil if the listener's address is a wildcard
}

// park returns a parkedListener on l's socket, and closes l.
func park(l *net.TCPListener, alive net.KeepAliveConfig) (_ net.Listener, err error) {
	defer l.Close()
	file, err := l.File()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	p := &parkedListener{file: file, addr: l.Addr().(*net.TCPAddr)}
	if p.conn, err = file.SyscallConn(); err != nil {
		return nil, err
	}
	if !p.addr.IP.IsUnspecified() {
		p.local = p.addr
	}
	var failed error
	err = p.conn.Control(func(fd uintptr) { failed = inherit(int(fd), alive) })
	return p, cmp.Or(err, failed)
}

// inherit sets on a listening socket the options that package net sets on each accepted
// connection. Accepted sockets inherit them.
func inherit(fd int, alive net.KeepAliveConfig) error {
	if err := setOptions(fd, []option{{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1}}); err != nil || !alive.Enable {
		return err
	}
	return setKeepAlive(fd, alive)
}

// setKeepAlive sets the keepalive options that package net would set.
func setKeepAlive(fd int, alive net.KeepAliveConfig) error {
	on := 0
	if alive.Enable {
		on = 1
	}
	options := []option{{unix.SOL_SOCKET, unix.SO_KEEPALIVE, on}}
	for name, d := range map[int]time.Duration{unix.TCP_KEEPIDLE: alive.Idle, unix.TCP_KEEPINTVL: alive.Interval} {
		switch {
		case d == 0:
			d = keepAlive
		case d < 0:
			continue
		}
		options = append(options, option{unix.IPPROTO_TCP, name, int((d + time.Second - 1) / time.Second)})
	}
	switch {
	case alive.Count == 0:
		options = append(options, option{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveCount})
	case alive.Count > 0:
		options = append(options, option{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, alive.Count})
	}
	return setOptions(fd, options)
}

// An option is a socket option and its value.
type option struct{ level, name, value int }

func setOptions(fd int, options []option) error {
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return nil
}

// Package net's values for the zero fields of a net.KeepAliveConfig.
const (
	keepAlive      = 15 * time.Second
	keepAliveCount = 9
)

func (l *parkedListener) Accept() (net.Conn, error) {
	var fd int
	var peer unix.Sockaddr
	var failed error
	err := l.conn.Read(func(listener uintptr) bool {
		for {
			fd, peer, failed = unix.Accept4(int(listener), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			switch failed {
			case unix.EINTR, unix.ECONNABORTED: // gone before it was accepted
			case unix.EAGAIN:
				return false
			default:
				return true
			}
		}
	})
	if err != nil {
		err = net.ErrClosed // Read fails only after Close, with os.ErrClosed
	}
	if err = cmp.Or(err, os.NewSyscallError("accept4", failed)); err != nil {
		return nil, l.opError("accept", err)
	}
	s, err := l.accepted(fd, peer)
	if err != nil {
		unix.Close(fd)
		return nil, l.opError("accept", err)
	}
	return s, nil
}

func (l *parkedListener) accepted(fd int, peer unix.Sockaddr) (*socket, error) {
	local := l.local
	if local == nil {
		sa, err := unix.Getsockname(fd)
		if err != nil {
			return nil, os.NewSyscallError("getsockname", err)
		}
		local = net.TCPAddrFromAddrPort(addrPort(sa))
	}
	return newSocket(fd, local, addrPort(peer))
}

func (l *parkedListener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: l.addr, Err: err}
}

func (l *parkedListener) Addr() net.Addr { return l.addr }
func (l *parkedListener) Close() error   { return l.file.Close() }

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		ip := netip.AddrFrom16(sa.Addr).Unmap()
		if sa.ZoneId != 0 {
			if i, err := net.InterfaceByIndex(int(sa.ZoneId)); err == nil {
				ip = ip.WithZone(i.Name)
			}
		}
		return netip.AddrPortFrom(ip, uint16(sa.Port))
	}
	return netip.AddrPort{}
}
