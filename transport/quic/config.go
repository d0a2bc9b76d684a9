package quic

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"time"

	quicgo "github.com/quic-go/quic-go"
)

// ALPN is the application protocol that is offered and accepted where the TLS
// config names none. QUIC cannot do without one (RFC 9001, section 8.1).
const ALPN = "livenet/1"

// maxIncomingStreams is how many streams a peer may have open at once unless
// the config says otherwise. quic-go's own 100 is few for a session that
// carries other people's connections, one in each stream.
const maxIncomingStreams = 1024

// defaultIdleTimeout is for a config that leaves it zero. It is longer than
// quic-go's 30 s, so that policies of a common length are not pre-empted by it.
const defaultIdleTimeout = 5 * time.Minute

var errNoCertificate = errors.New("quic: a listener needs a certificate: set Transport.TLS")

// config returns a copy of c with this package's defaults.
func config(c *quicgo.Config) *quicgo.Config {
	if c == nil {
		c = new(quicgo.Config)
	}
	c = c.Clone()
	if c.MaxIdleTimeout == 0 {
		c.MaxIdleTimeout = defaultIdleTimeout
	}
	if c.MaxIncomingStreams == 0 {
		c.MaxIncomingStreams = maxIncomingStreams
	}
	if c.MaxIncomingUniStreams == 0 {
		c.MaxIncomingUniStreams = -1 // none: they would never be accepted
	}
	// A transport.Stream has no way to release credit by hand.
	c.RequireStreamCreditRelease = false
	if choose, idle, keepAlive := c.GetConfigForClient, c.MaxIdleTimeout, c.KeepAlivePeriod; choose != nil {
		c.GetConfigForClient = func(info *quicgo.ClientInfo) (*quicgo.Config, error) {
			chosen, err := choose(info)
			if err != nil {
				return nil, err
			}
			chosen = config(chosen)
			// The listener has said how patient it is.
			chosen.MaxIdleTimeout = max(chosen.MaxIdleTimeout, idle)
			if chosen.KeepAlivePeriod == 0 {
				chosen.KeepAlivePeriod = keepAlive
			}
			return chosen, nil
		}
	}
	return c
}

// serverTLS returns a copy of c for a listener.
func serverTLS(c *tls.Config) (*tls.Config, error) {
	if c == nil || len(c.Certificates) == 0 && c.GetCertificate == nil && c.GetConfigForClient == nil {
		return nil, errNoCertificate
	}
	return withALPN(c), nil
}

// clientTLS returns a copy of c for dialling addr.
func clientTLS(c *tls.Config, addr string) *tls.Config {
	if c == nil {
		c = new(tls.Config)
	}
	c = withALPN(c)
	if c.ServerName == "" {
		// Left to itself quic-go would take the resolved IP, and so ask the
		// server for a certificate that few have.
		host, _, _ := net.SplitHostPort(addr)
		c.ServerName, _, _ = strings.Cut(host, "%") // a zone is no part of a name
	}
	if c.ServerName == "" {
		c.ServerName = "localhost"
	}
	return c
}

func withALPN(c *tls.Config) *tls.Config {
	c = c.Clone()
	if len(c.NextProtos) == 0 {
		c.NextProtos = []string{ALPN}
	}
	if choose := c.GetConfigForClient; choose != nil {
		c.GetConfigForClient = func(info *tls.ClientHelloInfo) (*tls.Config, error) {
			c, err := choose(info)
			if c == nil || err != nil {
				return nil, err
			}
			return withALPN(c), nil
		}
	}
	return c
}
