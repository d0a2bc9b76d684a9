package quic

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"time"

	quicgo "github.com/quic-go/quic-go"
)

// ALPN is the application protocol used if tls.Config.NextProtos is empty. QUIC requires
// one (RFC 9001, section 8.1).
const ALPN = "livenet/1"

// maxIncomingStreams is how many streams a peer may have open at once by default. quic-go's
// default of 100 is too small for a proxy with one stream per connection.
const maxIncomingStreams = 1024

// defaultIdleTimeout replaces quic-go's default of 30 s, which would end a session before
// many a policy does.
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
		c.MaxIncomingUniStreams = -1 // none: a session can't accept them
	}
	// A transport.Stream has no method to release credit.
	c.RequireStreamCreditRelease = false
	if choose, idle, keepAlive := c.GetConfigForClient, c.MaxIdleTimeout, c.KeepAlivePeriod; choose != nil {
		c.GetConfigForClient = func(info *quicgo.ClientInfo) (*quicgo.Config, error) {
			chosen, err := choose(info)
			if err != nil {
				return nil, err
			}
			chosen = config(chosen)
			// The listener's IdleTimeout must hold for every connection.
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
		// quic-go would use the resolved IP, which few certificates contain.
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
