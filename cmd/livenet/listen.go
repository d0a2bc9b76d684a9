package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/internal/devtls"
	"github.com/livenet/livenet/internal/eventlog"
	"github.com/livenet/livenet/internal/gateway"
	"github.com/livenet/livenet/internal/settings"
	"github.com/livenet/livenet/internal/stack"
	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

// A bound is a listener that is bound, and what it was told.
type bound struct {
	transport.Listener
	told     *settings.Listener
	identity *devtls.Identity // nil: no TLS, or a certificate of the user's
	gateway  *gateway.Gateway // nil: its connections are not forwarded; set by server
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
	limits := limits(l, handlers[l.Handler])
	if limits.ResetKey, err = resetKey(p, l); err != nil {
		return nil, err
	}
	t, err := stack.New(l.Transport, conf, limits)
	if err != nil {
		return nil, err
	}
	listener, err := t.Listen(ctx, l.Address)
	if err != nil {
		return nil, fmt.Errorf("can't listen on %s %s: %s", l.Transport, l.Address, whyNotListen(l, err))
	}
	return &bound{Listener: listener, told: l, identity: identity}, nil
}

func limits(l *settings.Listener, h handler) stack.Limits {
	limits := stack.Limits{
		Silence:   stack.Backstop(l.Patience()),
		Ask:       l.AskEvery(),
		Handshake: l.Opening,
		Streams:   l.MaxStreams,
		ReusePort: l.ReusePort,
		Parked:    l.Parked() && h.data != nil,
	}
	if len(l.Forward) > 0 {
		limits.Parked = l.Parked() && l.TLS // otherwise the kernel can move the bytes
	}
	if len(l.AcceptProxy) > 0 {
		limits.Preamble = gateway.Preamble(l.AcceptProxy)
	}
	return limits
}

// resetKey is nil where none is wanted: a server with a certificate of its own needs no
// folder, and one that shares its port would reset the others' sessions.
func resetKey(p *process, l *settings.Listener) (*[32]byte, error) {
	file := l.ResetKey
	if file == "" {
		if !stack.HasResetKey(l.Transport) || l.Cert != "" || l.ReusePort {
			return nil, nil
		}
		store, err := developmentStore(p)
		if err != nil {
			return nil, err
		}
		file = store.ResetKeyFile()
	}
	key, err := devtls.ResetKey(file, l.Address)
	return &key, err
}

// server is the server of a listener that is bound.
func (b *bound) server(o serveOptions, out *printer, log *eventlog.Log) *liveness.Server {
	l := b.told
	framing, _ := codec.ByName(l.Codec) // one of those that there are
	s := &liveness.Server{
		Config: liveness.Config{
			Policy:    l.SessionPolicy(),
			Opening:   l.Opening,
			Evidence:  l.Counts(),
			MaxBeats:  l.MaxBeats,
			MinPace:   l.MinPace,
			Events:    log.Event,
			ErrorLog:  log.ErrorLog(l.Transport),
			Name:      b.name(),
			Transport: l.Transport,
		},
		Streams:    l.StreamsPolicy(),
		MaxStreams: l.MaxStreams,
		Codec:      framing,
		Drain:      o.drain,
	}
	h := handlers[l.Handler]
	if len(l.Forward) > 0 {
		b.gateway = newGateway(l, b.name(), log)
		h = handler{conn: func(ctx context.Context, _ *printer, c *liveness.Conn) { b.gateway.Handle(ctx, c) }}
	}
	h.serve(s, out)
	return s
}

func newGateway(l *settings.Listener, name string, log *eventlog.Log) *gateway.Gateway {
	return gateway.New(gateway.Config{
		Forward:       l.Forward,
		Health:        l.Health,
		ProxyProtocol: l.ProxyVersion(),
		Policy:        l.UpstreamPolicy(),
		Evidence:      l.UpstreamCounts(),
		Changed: func(a gateway.Address, cause string) {
			log.Upstream(name, l.Transport, a.String(), cause)
		},
	})
}

// name is what events call the listener: where it can be reached.
func (b *bound) name() string { return b.told.Transport + "://" + b.Addr().String() }

// serverTLS is nil where the listener has no TLS.
func serverTLS(p *process, l *settings.Listener) (conf *tls.Config, identity *devtls.Identity, err error) {
	if !l.TLS {
		return nil, nil, nil
	}
	conf = new(tls.Config)
	if l.Cert != "" {
		cert, err := loadCertificate(l.Cert, l.Key)
		if err != nil {
			return nil, nil, err
		}
		conf.Certificates = []tls.Certificate{cert}
	} else {
		store, err := developmentStore(p)
		if err != nil {
			return nil, nil, err
		}
		if identity, err = store.Identity(); err != nil {
			return nil, nil, err
		}
		conf.GetCertificate = store.Renewing(identity)
	}
	if l.ClientCA != "" {
		conf.ClientAuth = tls.RequireAndVerifyClientCert
		conf.ClientCAs, err = loadAuthorities(l.ClientCA)
	}
	return conf, identity, err
}

func developmentStore(p *process) (devtls.Store, error) {
	dir, err := devtls.Folder(p.getenv)
	return devtls.Store{Dir: dir}, err
}

func loadCertificate(certFile, keyFile string) (tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err == nil {
		return cert, nil
	}
	if _, unreadable := errors.AsType[*fs.PathError](err); unreadable {
		return cert, fmt.Errorf("can't read the certificate: %w", err)
	}
	return cert, fmt.Errorf("can't use the certificate %s with the key %s: %w", certFile, keyFile, err)
}

func loadAuthorities(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("can't read the authorities' certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("there is no certificate in %s", file)
	}
	return pool, nil
}

// noteCertificate says, once, what a client must know to trust the development
// certificate.
func noteCertificate(p *process, log *eventlog.Log, listeners []*bound) {
	var shown *devtls.Identity
	made := false
	for _, b := range listeners {
		if b.identity != nil {
			shown = b.identity
			made = made || shown.Made
		}
	}
	if store, err := developmentStore(p); err == nil && shown != nil {
		log.Certificate(store.Dir, shown.Pin().String(), made)
	}
}
