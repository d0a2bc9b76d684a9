package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/livenet/livenet/internal/devtls"
	"github.com/livenet/livenet/internal/eventlog"
	"github.com/livenet/livenet/internal/settings"
	"github.com/livenet/livenet/internal/stack"
	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

// A bound is a listener that is bound, and what it was told.
type bound struct {
	transport.Listener
	told     *settings.Listener
	identity *development // nil: no TLS, or a certificate of the user's
}

// listen binds all listeners, or none.
func listen(ctx context.Context, p *process, list []*settings.Listener) ([]*bound, error) {
	var all []*bound
	for _, l := range list {
		b, err := bind(ctx, p, l)
		if err != nil {
			for _, b := range all {
				b.Close()
			}
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

func bind(ctx context.Context, p *process, l *settings.Listener) (*bound, error) {
	conf, identity, err := serverTLS(p, l)
	if err != nil {
		return nil, err
	}
	t, err := stack.New(l.Transport, conf, stack.Limits{
		Silence:   stack.Backstop(l.Timeout),
		Handshake: l.Opening,
		Streams:   l.MaxStreams,
		ReusePort: l.ReusePort,
		Parked:    l.Parked(),
	})
	if err != nil {
		return nil, err
	}
	listener, err := t.Listen(ctx, l.Address)
	if err != nil {
		return nil, fmt.Errorf("can't listen on %s %s: %s", l.Transport, l.Address, whyNotListen(l, err))
	}
	return &bound{listener, l, identity}, nil
}

// server is the server of a listener that is bound.
func (b *bound) server(o serveOptions, out *printer, log *eventlog.Log) *liveness.Server {
	l := b.told
	return &liveness.Server{
		Config: liveness.Config{
			Policy:    l.SessionPolicy(),
			Opening:   l.Opening,
			Evidence:  l.Evidence,
			MaxBeats:  l.MaxBeats,
			Events:    log.Event,
			Name:      b.name(),
			Transport: l.Transport,
		},
		Streams:    l.StreamsPolicy(),
		MaxStreams: l.MaxStreams,
		Codec:      l.Codec,
		Data:       handlerOf(l.Handler, out),
		Drain:      o.drain,
	}
}

// name is what events call the listener: where it can be reached.
func (b *bound) name() string { return b.told.Transport + "://" + b.Addr().String() }

// A development is the development certificate, and where it is kept.
type development struct {
	*devtls.Identity
	store devtls.Store
}

// serverTLS is nil where the listener has no TLS.
func serverTLS(p *process, l *settings.Listener) (*tls.Config, *development, error) {
	if !l.TLS {
		return nil, nil, nil
	}
	conf := new(tls.Config)
	var dev *development
	if l.Cert == "" {
		store, err := developmentStore(p)
		if err != nil {
			return nil, nil, err
		}
		identity, err := store.Identity()
		if err != nil {
			return nil, nil, err
		}
		dev = &development{identity, store}
		conf.Certificates = []tls.Certificate{identity.Certificate}
	} else {
		cert, err := loadCertificate(l.Cert, l.Key)
		if err != nil {
			return nil, nil, err
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	if l.ClientCA != "" {
		pool, err := loadAuthorities(l.ClientCA)
		if err != nil {
			return nil, nil, err
		}
		conf.ClientCAs, conf.ClientAuth = pool, tls.RequireAndVerifyClientCert
	}
	return conf, dev, nil
}

func developmentStore(p *process) (devtls.Store, error) {
	dir, err := devtls.Folder(p.getenv)
	return devtls.Store{Dir: dir}, err
}

// loadCertificate is an error of usage if the two files can't be used together.
func loadCertificate(certFile, keyFile string) (tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err == nil {
		return cert, nil
	}
	if _, unreadable := errors.AsType[*fs.PathError](err); unreadable {
		return cert, usage("can't read the certificate: %w", err)
	}
	return cert, usage("can't use the certificate %s with the key %s: %w", certFile, keyFile, err)
}

func loadAuthorities(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, usage("can't read the authorities' certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, usage("there is no certificate in %s", file)
	}
	return pool, nil
}

// noteCertificates says, once, what a client must know to trust the development
// certificate.
func noteCertificates(log *eventlog.Log, listeners []*bound) {
	var dev *development
	made := false
	for _, b := range listeners {
		if b.identity != nil {
			dev = b.identity
			made = made || dev.Made
		}
	}
	if dev != nil {
		log.Certificate(dev.store.Dir, dev.Pin().String(), made)
	}
}
