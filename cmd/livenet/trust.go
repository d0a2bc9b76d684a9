package main

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"strings"

	"github.com/livenet/livenet/internal/devtls"
	"github.com/livenet/livenet/internal/stack"
)

// trust is whom dial takes a server for, and what it shows of itself.
type trust struct {
	tls       bool
	ca        string // a file; empty: the system's, and on this machine the development CA
	pin       *devtls.Pin
	insecure  bool
	cert, key string
}

func readTrust(f *flags, transport string) trust {
	t := trust{
		tls:      f.on("tls"),
		ca:       f.file("ca"),
		insecure: f.on("insecure"),
		cert:     f.file("tls-cert"),
		key:      f.file("tls-key"),
	}
	if text, given := f.given("pin"); given {
		pin, err := devtls.ParsePin(text)
		if err != nil {
			f.fail("%s %w", f.spell("pin"), err)
		}
		t.pin = &pin
	}
	t.check(f, transport)
	t.tls = t.tls || stack.AlwaysTLS(transport)
	return t
}

// check finds what contradicts itself.
func (t *trust) check(f *flags, transport string) {
	var ways []string
	for _, name := range []string{"ca", "pin", "insecure"} {
		if _, given := f.given(name); given && (name != "insecure" || t.insecure) {
			ways = append(ways, f.spell(name))
		}
	}
	_, told := f.given("tls")
	always := stack.AlwaysTLS(transport)
	switch {
	case len(ways) > 1:
		f.fail("%s contradict each other: take one", strings.Join(ways, " and "))
	case t.cert != "" && t.key == "":
		f.fail("%s is without its key: add %s", f.spell("tls-cert"), f.spell("tls-key"))
	case t.key != "" && t.cert == "":
		f.fail("%s is without its certificate: add %s", f.spell("tls-key"), f.spell("tls-cert"))
	case always && told && !t.tls:
		f.fail("%s can't be false: %s always has TLS", f.spell("tls"), transport)
	case always || t.tls:
	case len(ways) > 0:
		f.fail("%s needs TLS: add --tls", ways[0])
	case t.cert != "":
		f.fail("%s needs TLS: add --tls", f.spell("tls-cert"))
	}
}

// config is the client's TLS config for dialling addr, or nil.
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
	case local(addr):
		pool, err := developmentRoots(p)
		return &tls.Config{RootCAs: pool}, err
	}
	return new(tls.Config), nil
}

// local reports whether addr is this machine by its name alone: nobody but the
// development certificate's maker is to be taken for it.
func local(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	name, err := os.Hostname()
	return host == "" || strings.EqualFold(host, "localhost") || err == nil && strings.EqualFold(host, name)
}

// developmentRoots are the system's roots and the development CA, if serve has
// made one.
func developmentRoots(p *process) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	store, err := developmentStore(p)
	if err != nil {
		return pool, nil // no folder, hence no certificate
	}
	_, err = store.Roots(pool)
	return pool, err
}
