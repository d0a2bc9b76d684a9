package quic

import (
	"context"
	"crypto/tls"
	"net"

	quicgo "github.com/quic-go/quic-go"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/internal/reuseport"
)

// Transport makes QUIC sessions. The zero value dials, and trusts the system's
// roots; listening needs a certificate in TLS. Neither config is changed.
type Transport struct {
	// TLS holds the certificates and roots. NextProtos is ALPN ("livenet/1")
	// unless it is set.
	TLS *tls.Config

	// Config is quic-go's own, and taken as it is. Where it leaves them zero,
	// MaxIdleTimeout is 5 minutes, MaxIncomingStreams is 1024, and unidirectional
	// streams, which no session of this package would accept, are refused.
	Config *quicgo.Config

	// ReusePort lets listeners of several processes of one user share a port
	// (SO_REUSEPORT), if all of them ask for it. Linux and FreeBSD spread packets
	// over them by a hash of both addresses, so a session stays with its process
	// only as long as no listener joins or leaves, and its peer's address stays.
	// Where the system can't do it, Listen fails with errors.ErrUnsupported.
	ReusePort bool

	// MaxUnverified is how many handshakes a listener lets clients begin that have
	// not shown that they receive at their address. A place is free again when its
	// handshake succeeds; those of handshakes that don't come back within 10 s. When
	// none is left, clients are asked to show it first (Retry, RFC 9000, section
	// 8.1.2), which costs them a round trip. 0 means 256; if it is negative, all
	// clients are asked.
	MaxUnverified int

	// StatelessResetKey lets a listener reset the sessions of another one, on the
	// same address, that had the same key and is gone: the process was killed or has
	// restarted, and its peers notice with the next packet that they send (RFC 9000,
	// section 10.3). Whoever knows the key can reset sessions, and so can whoever sees
	// their packets if two sockets that are open at a time share it (section 21.11). Nil means
	// a random key for each listener, by which nobody is reset.
	StatelessResetKey *quicgo.StatelessResetKey
}

var _ transport.Transport = Transport{}

// Listen binds a UDP socket of its own. Of a client whose handshake fails, Accept
// returns a session that has ended, whose context says why.
func (t Transport) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	tlsConf, err := serverTLS(t.TLS)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	addrs, err := resolve(ctx, addr)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	udp, err := t.listenUDP(ctx, toListen(addrs))
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

// Dial opens a session from a UDP socket of its own, which goes with it. Of a name with
// several addresses it tries one after the other (RFC 8305), each before the last has
// failed.
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
	defer ep.release(0) // the session holds the endpoint from here on

	tlsConf, conf := clientTLS(t.TLS, addr), config(t.Config)
	conn, err := race(ctx, addrs, func(ctx context.Context, raddr *net.UDPAddr) (*quicgo.Conn, error) {
		raddr = toDial(raddr)
		err := ctx.Err() // of a context that has ended quic-go lets chance decide
		if err == nil {
			conn, dialErr := ep.transport.Dial(ctx, raddr, tlsConf, conf)
			if dialErr == nil {
				return conn, nil
			}
			if err = ctx.Err(); err == nil {
				err = beneath(dialErr)
			}
		}
		return nil, &net.OpError{Op: "dial", Net: network, Addr: raddr, Err: err}
	})
	if err != nil {
		return nil, err
	}
	return newSession(conn, ep), nil
}
