package main

import (
	"cmp"
	"crypto/tls"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/livenet/livenet/internal/devtls"
	"github.com/livenet/livenet/internal/settings"
	"github.com/livenet/livenet/internal/stack"
)

// trust says how dial verifies the server, and has the client's own certificate.
type trust struct {
	tls       bool
	ca        string // a file; empty: the system's roots and, for this machine, the development certificate
	pin       *devtls.Pin
	insecure  bool
	cert, key string
}

func trustFlags(t *trust) []cli.Flag {
	const security = "TLS"
	return []cli.Flag{
		settings.Switch(security, "tls", settings.TLSUsage(), &t.tls),
		settings.File(security, "ca", "trust servers certified by these authorities, PEM", &t.ca),
		&cli.StringFlag{
			Name: "pin", Category: security, Usage: "`PIN` trust the server that has this key: sha256:HEX",
			Action: func(c *cli.Context, text string) error {
				pin, err := devtls.ParsePin(text)
				if err != nil {
					return settings.Usage("%s %w", settings.Spell(c, "pin"), err)
				}
				t.pin = &pin
				return nil
			},
		},
		settings.Switch(security, "insecure", "don't verify the server", &t.insecure),
		settings.File(security, "tls-cert", "client certificate, PEM", &t.cert),
		settings.File(security, "tls-key", "its private key, PEM", &t.key),
	}
}

// check refuses contradictory flags, and sets tls if the transport requires it.
func (t *trust) check(c *cli.Context, transport string) error {
	always := stack.AlwaysTLS(transport)
	if c.IsSet("tls") && !t.tls && always {
		return settings.Usage("%s can't be false: %s always has TLS", settings.Spell(c, "tls"), transport)
	}
	if err := settings.CheckPair(c, t.cert, t.key); err != nil {
		return err
	}
	var ways []string
	for _, way := range []struct {
		name  string
		taken bool
	}{{"ca", t.ca != ""}, {"pin", t.pin != nil}, {"insecure", t.insecure}} {
		if way.taken {
			ways = append(ways, settings.Spell(c, way.name))
		}
	}
	if len(ways) > 1 {
		return settings.Usage("%s contradict each other: take one", settings.Enumerate(ways, "and"))
	}
	if t.cert != "" {
		ways = append(ways, settings.Spell(c, "tls-cert"))
	}
	if t.tls = t.tls || always; !t.tls && len(ways) > 0 {
		return settings.Usage("%s needs TLS: add --tls", ways[0])
	}
	return nil
}

// config returns the TLS config for dialling addr, or nil.
func (t *trust) config(p *process, addr string) (*tls.Config, error) {
	if !t.tls {
		return nil, nil
	}
	conf, err := t.verification(p, addr)
	if err != nil || t.cert == "" {
		return conf, err
	}
	cert, err := loadCertificate(t.cert, t.key)
	if err != nil {
		return nil, err
	}
	conf.Certificates = []tls.Certificate{cert}
	return conf, nil
}

func (t *trust) verification(p *process, addr string) (*tls.Config, error) {
	switch {
	case t.insecure:
		return &tls.Config{InsecureSkipVerify: true}, nil
	case t.pin != nil:
		return t.pin.Config(), nil
	case t.ca != "":
		pool, err := loadAuthorities(t.ca)
		return &tls.Config{RootCAs: pool}, err
	}
	if store, err := developmentStore(p); err == nil && local(addr) {
		host, _, _ := net.SplitHostPort(addr)
		host, _, _ = strings.Cut(host, "%")
		return store.ClientConfig(cmp.Or(host, "localhost"))
	}
	return new(tls.Config), nil
}

// local reports whether addr names this machine, without a DNS lookup. Only then the
// development certificate is trusted.
func local(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().IsLoopback()
	}
	name, err := os.Hostname()
	return host == "" || strings.EqualFold(host, "localhost") || err == nil && strings.EqualFold(host, name)
}
