package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	quicgo "github.com/quic-go/quic-go"
	"golang.org/x/sys/unix"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/quic"
	"github.com/livenet/livenet/transport/tcp"
	"github.com/livenet/livenet/transport/yamux"
)

var transports = []string{"tcp", "tls", "yamux", "quic"}

// dialTime is how long opening a session may take.
const dialTime = 30 * time.Second

// listening returns a transport's server end. parked applies to tcp and tls. borne is the
// policy's longest silence, which the lower layers' timeouts must exceed.
func listening(name string, parked bool, borne time.Duration) (transport.Transport, error) {
	serverTLS, _, err := certificates()
	if err != nil {
		return nil, err
	}
	switch name {
	case "tcp":
		return tcp.Transport{Parked: parked}, nil
	case "tls":
		return tcp.Transport{Parked: parked, TLS: serverTLS}, nil
	case "yamux":
		return yamux.Transport{Inner: tcp.Transport{}}, nil
	case "quic":
		return quic.Transport{TLS: serverTLS, Config: quicConfig(borne)}, nil
	}
	return nil, fmt.Errorf("there is no transport %q", name)
}

// dialling is a transport's client end.
func dialling(name string, borne time.Duration) (transport.Transport, error) {
	_, clientTLS, err := certificates()
	if err != nil {
		return nil, err
	}
	switch name {
	case "tcp":
		return new(spread), nil
	case "tls":
		return &spread{tls: clientTLS}, nil
	case "yamux":
		return yamux.Transport{Inner: new(spread)}, nil
	case "quic":
		return quic.Transport{TLS: clientTLS, Config: quicConfig(borne)}, nil
	}
	return nil, fmt.Errorf("there is no transport %q", name)
}

// quicConfig sets QUIC's timeouts longer than the policy's, as livenet serve does.
func quicConfig(borne time.Duration) *quicgo.Config {
	idle := max(2*borne+5*time.Second, 30*time.Second)
	return &quicgo.Config{MaxIdleTimeout: idle, KeepAlivePeriod: idle / 2, HandshakeIdleTimeout: dialTime}
}

// certificates returns the configs of a TLS server, with a new certificate, and of a client.
// They are in different processes, so the client trusts any certificate.
func certificates() (server, client *tls.Config, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(48 * time.Hour),
		DNSNames:     []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return server, &tls.Config{InsecureSkipVerify: true}, nil
}

// A spread is TCP, with TLS if it has a config, whose connections come from many
// loopback addresses in turn: one address has 28,000 ports to one server, and
// those of ended connections wait for a minute.
type spread struct {
	tcp.Transport
	tls  *tls.Config
	next atomic.Uint32
}

const sources = 256

// source returns the i-th address to connect from. It avoids 127.0.x.y, where other programs may
// have addresses.
func source(i int) netip.Addr { return netip.AddrFrom4([4]byte{127, 1, byte(i % sources), 1}) }

func (s *spread) Dial(ctx context.Context, addr string) (transport.Session, error) {
	dialer := net.Dialer{
		KeepAlive: -1,
		LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(source(int(s.next.Add(1))), 0)),
		Control:   portAtConnect,
	}
	dialer.SetMultipathTCP(false)
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil || s.tls == nil {
		return single(conn, err)
	}
	secure := tls.Client(conn, s.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return transport.Single(secure), nil
}

func single(conn net.Conn, err error) (transport.Session, error) {
	if err != nil {
		return nil, err
	}
	return transport.Single(conn), nil
}

// portAtConnect makes the kernel choose the port when it knows the destination. Then each port
// can be used once for each destination.
func portAtConnect(_, _ string, c syscall.RawConn) (err error) {
	failed := c.Control(func(fd uintptr) {
		err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1))
	})
	if failed != nil {
		return failed
	}
	return err
}
