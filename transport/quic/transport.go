package quic

import (
	"context"
	"crypto/tls"
	"net"

	quicgo "github.com/quic-go/quic-go"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/internal/reuseport"
)

// Transport makes QUIC sessions. The zero value can dial, with the system's roots;
// listening needs a certificate in TLS. Neither config is changed.
type Transport struct {
	// TLS holds the certificates and roots. NextProtos is ALPN ("livenet/1")
	// unless it is set.
	TLS *tls.Config

	// Config is quic-go's configuration. If they are zero, MaxIdleTimeout becomes 5
	// minutes and MaxIncomingStreams 1024, and unidirectional streams, which a session
	// can't accept, are refused.
	Config *quicgo.Config

	// ReusePort lets listeners of several processes of one user share a port
	// (SO_REUSEPORT). All of them must set it. Linux and FreeBSD spread packets over them
	// by a hash of both addresses. So a session breaks when a listener joins or leaves or
	// the peer's address changes. If the system has no such option, Listen returns
	// errors.ErrUnsupported.
	ReusePort bool

	// MaxUnverified is how many handshakes may begin from addresses that are not
	// verified, and so may be spoofed. A slot is free again when its handshake succeeds,
	// or within 10 s if it fails. If none is free, clients get a Retry (RFC 9000, section
	// 8.1.2), which costs them a round trip. 0 means 256; if it is negative, all clients
	// get a Retry.
	MaxUnverified int

	// StatelessResetKey lets a listener reset the sessions of an earlier listener with
	// the same address and key, whose process was killed or restarted. A peer notices
	// with the next packet that it sends (RFC 9000, section 10.3). Anyone who knows the
	// key can reset sessions. So can anyone who sees their packets, if two sockets share
	// the key at the same time (section 21.11). Nil means a random key, with which no
	// session of an earlier listener is reset.
	StatelessResetKey *quicgo.StatelessResetKey
}

var _ transport.Transport = Transport{}

// Listen binds a UDP socket. After a failed handshake Accept returns a session that has
// ended, whose context has the cause.
func (t Transport) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	tlsConf, err := serverTLS(t.TLS)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	addrs, err := resolve(ctx, addr)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	udp, err := t.listenUDP(ctx, listenAddr(addrs))
	if err != nil {
		return nil, err // a *net.OpError already
	}
	ep := newEndpoint(udp, t.StatelessResetKey)
	l, err := listen(ep, tlsConf, config(t.Config), t.MaxUnverified)
	if err != nil {
		ep.release(0)
		return nil, &net.OpError{Op: "listen", Net: network, Source: ep.conn.LocalAddr(), Err: err}
	}
	return l, nil
}

func (t Transport) listenUDP(ctx context.Context, laddr *net.UDPAddr) (*net.UDPConn, error) {
	if !t.ReusePort {
		return net.ListenUDP("udp", laddr)
	}
	config := net.ListenConfig{Control: reuseport.Control}
	conn, err := config.ListenPacket(ctx, "udp", laddr.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

// Dial opens a session and returns it after the handshake, or the error of that. The
// session has a UDP socket of its own, which is closed with it. If
// the name has several addresses, it starts to try the next one 250 ms after the last
// (RFC 8305).
func (t Transport) Dial(ctx context.Context, addr string) (transport.Session, error) {
	addrs, err := resolve(ctx, addr)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	return t.dial(ctx, addr, interleave(addrs))
}

// dial dials addr at these addresses.
func (t Transport) dial(ctx context.Context, addr string, addrs []*net.UDPAddr) (transport.Session, error) {
	udp, err := net.ListenUDP("udp", nil) // any address and port
	if err != nil {
		return nil, err
	}
	ep := newEndpoint(udp, nil)
	defer ep.release(0) // by then the session has its own reference

	tlsConf, conf := clientTLS(t.TLS, addr), config(t.Config)
	conn, err := race(ctx, addrs, func(ctx context.Context, raddr *net.UDPAddr) (*quicgo.Conn, error) {
		raddr = dialAddr(raddr)
		err := ctx.Err() // with an ended context, quic-go's Dial may succeed or fail
		if err == nil {
			conn, dialErr := ep.transport.Dial(ctx, raddr, tlsConf, conf)
			if dialErr == nil {
				return conn, nil
			}
			if err = ctx.Err(); err == nil {
				err = libraryError(dialErr)
			}
		}
		return nil, &net.OpError{Op: "dial", Net: network, Addr: raddr, Err: err}
	})
	if err != nil {
		return nil, err
	}
	return newSession(conn, ep), nil
}
