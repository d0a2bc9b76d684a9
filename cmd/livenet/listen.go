package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/internal/devtls"
	"github.com/livenet/livenet/internal/eventlog"
	"github.com/livenet/livenet/internal/gateway"
	"github.com/livenet/livenet/internal/settings"
	"github.com/livenet/livenet/internal/stack"
	"github.com/livenet/livenet/internal/tunnel"
	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

// A bound is a bound listener and its settings.
type bound struct {
	transport.Listener
	settings *settings.Listener
	identity *devtls.Identity            // the development certificate; nil if another or none is used
	forward  map[string]*gateway.Gateway // by the service's name, set by server; empty if connections are not forwarded
	tunnels  *tunnel.Server              // likewise
	tokens   *tunnel.Tokens              // nil if tunnels need no token

	// Set only on the listener of a --service: the listener whose tunnels publish it, and its name.
	tunnelsOf *bound
	service   string
}

// listen binds all listeners, or none.
func listen(ctx context.Context, p *process, list []*settings.Listener) ([]*bound, error) {
	var all []*bound
	for _, l := range list {
		b, err := bind(ctx, p, l)
		if err == nil {
			all = append(all, b)
			all, err = listenServices(ctx, p, b, all)
		}
		if err != nil {
			for _, b := range all {
				b.Close()
			}
			return nil, err
		}
	}
	return all, nil
}

// listenServices binds the listeners of the services that b's tunnels may publish, and appends
// them to all.
func listenServices(ctx context.Context, p *process, b *bound, all []*bound) ([]*bound, error) {
	for _, name := range slices.Sorted(maps.Keys(b.settings.Services)) {
		s, err := bind(ctx, p, b.settings.ServiceListener(name))
		if err != nil {
			return all, err
		}
		s.tunnelsOf, s.service = b, name
		all = append(all, s)
	}
	return all, nil
}

func bind(ctx context.Context, p *process, l *settings.Listener) (*bound, error) {
	tokens, err := readTokens(l)
	if err != nil {
		return nil, err
	}
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
	return &bound{Listener: listener, settings: l, identity: identity, tokens: tokens}, nil
}

// readTokens returns nil if tunnels need no token.
func readTokens(l *settings.Listener) (*tunnel.Tokens, error) {
	if l.TokenFile == "" {
		return nil, nil
	}
	tokens, err := tunnel.NewTokens(l.TokenFile)
	if err != nil {
		return nil, settings.Usage("can't read the tokens: %w", err)
	}
	return tokens, nil
}

func limits(l *settings.Listener, h handler) stack.Limits {
	limits := stack.Limits{
		IdleTimeout:  stack.IdleTimeout(l.Patience()),
		PingInterval: l.AskEvery(),
		Handshake:    l.Opening,
		Streams:      l.MaxStreams,
		ReusePort:    l.ReusePort,
		Parked:       l.Parked() && h.data != nil,
	}
	if len(l.Forward) > 0 {
		limits.Parked = l.Parked() && l.TLS // otherwise the kernel can move the bytes
	}
	if len(l.AcceptProxy) > 0 {
		limits.Preamble = gateway.Preamble(l.AcceptProxy)
	}
	return limits
}

// resetKey returns the stateless reset key, or nil. By default a server with its own
// certificate has none, since it needs no data folder. Neither has one that shares its port,
// since it would reset the other processes' sessions.
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

// server returns the server of a bound listener.
func (b *bound) server(o serveOptions, out *printer, log *eventlog.Log) *liveness.Server {
	l := b.settings
	framing, _ := codec.ByName(l.Codec) // the flag accepts only names of codecs
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
	switch {
	case b.tunnelsOf != nil:
		h = handler{conn: func(ctx context.Context, _ *printer, c *liveness.Conn) { b.tunnelsOf.tunnels.Reach(ctx, c, b.service) }}
	case len(l.Forward) > 0 || len(l.Services) > 0:
		h = handler{conn: b.forwarding(log)}
	}
	if l.Tunnels {
		s.Codec = codec.Auto // the control stream of a tunnel uses frames
	}
	h.serve(s, out)
	return s
}

// forwarding returns the handler that forwards connections, and sets b's gateways.
func (b *bound) forwarding(log *eventlog.Log) func(context.Context, *printer, *liveness.Conn) {
	b.forward = make(map[string]*gateway.Gateway)
	for name, list := range b.settings.Forward {
		b.forward[name] = newGateway(b.settings, list, b.name(), log)
	}
	b.tunnels = &tunnel.Server{Forward: b.forward, Services: make(map[string]bool), Opening: b.settings.Opening, Changed: func(service, who, reason string) {
		log.Upstream(b.name(), b.settings.Transport, service+" of "+eventlog.Clean(who), reason)
	}}
	b.tunnels.Tokens, b.tunnels.Certificates = b.tokens, b.settings.ClientCA != ""
	if b.tokens != nil {
		failures := log.ErrorLog(b.settings.Transport).With("listener", b.name())
		b.tokens.Warn = func(err error) { failures.Warn("the previous tokens stay valid", "error", err) }
	}
	for name := range b.settings.Services {
		b.tunnels.Services[name] = true
	}
	handle := b.tunnels.Handle
	if g := b.forward[""]; g != nil && len(b.forward) == 1 && !b.settings.Tunnels {
		handle = g.Handle // there is only one service
	}
	return func(ctx context.Context, _ *printer, c *liveness.Conn) { handle(ctx, c) }
}

func newGateway(l *settings.Listener, list []gateway.Address, name string, log *eventlog.Log) *gateway.Gateway {
	return gateway.New(gateway.Config{
		Forward:       list,
		Health:        l.Health,
		ProxyProtocol: l.ProxyVersion(),
		Policy:        l.UpstreamPolicy(),
		Evidence:      l.UpstreamCounts(),
		Changed: func(a gateway.Address, cause string) {
			log.Upstream(name, l.Transport, a.String(), cause)
		},
	})
}

// name returns the listener's name in events: its URL.
func (b *bound) name() string { return b.settings.Transport + "://" + b.Addr().String() }

// serverTLS returns a nil config if the listener has no TLS.
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

// noteCertificate logs the development certificate's folder and pin once, if it is used.
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
