package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/internal/eventlog"
	"github.com/livenet/livenet/internal/gateway"
	"github.com/livenet/livenet/internal/settings"
	"github.com/livenet/livenet/internal/stack"
	"github.com/livenet/livenet/internal/tunnel"
	"github.com/livenet/livenet/liveness"
)

func tunnelCommand(p *process) *cli.Command {
	var o tunnelOptions
	return &cli.Command{
		Name:  "tunnel",
		Usage: "forward connections to a gateway, or publish services to it",
		Description: `Tunnel forwards connections to a --listen address to the server, livenet serve
--forward. Over quic and yamux each becomes a stream of one session; over tcp each
has a connection of its own. In the other direction, connections that the server
accepts for a service (serve --service) go to the tunnel that publishes it (--publish).

The session sends heartbeats as often as the server requests. When the session ends,
tunnel dials again with exponential backoff and jitter. SIGHUP ends the wait before
the next attempt.

On the same machine tunnel trusts the development certificate of serve. Otherwise pass
its pin, which serve prints.`,
		CustomHelpTemplate: `
{{bold "Exit status"}}
    0   a signal ended tunnel
    1   it can't listen
    2   the command line or a variable is invalid
    4   the server refused the tunnel (unauthorized), or has no such service to
        publish (no-tunnel)
    6   a violation of the protocol: protocol-error
    7   a newer tunnel with the same id replaced it: superseded

{{bold "Examples"}}
  livenet tunnel --server quic://gw.example --listen 127.0.0.1:6379
  livenet tunnel --server yamux://gw.example --tls \
                 --listen 127.0.0.1:6379=redis --listen unix:/tmp/pg=postgres
  livenet tunnel --server quic://gw.example --publish ssh=127.0.0.1:22 \
                 --token-file token

Every flag has a variable: --server is LIVENET_TUNNEL_SERVER.
`,
		Flags: tunnelFlags(&o),
		Action: func(c *cli.Context) error {
			if err := o.check(c); err != nil {
				return err
			}
			return runTunnel(c.Context, p, o)
		},
	}
}

const statusSuperseded = 7

// connectTimeout is how long an attempt to connect may take.
const connectTimeout = 10 * time.Second

// maxStreams is how many streams the server may have open in a session, for connections to
// published services.
const maxStreams = 1024

// tunnelOptions are the flags of tunnel.
type tunnelOptions struct {
	transport, address string // the server's
	listen             []localService
	publish            map[string]gateway.Address // services by name
	id                 string                     // of the publisher
	tokenFile          string                     // empty: no token is sent
	insecureToken      bool
	wait               time.Duration
	timeout            time.Duration // 0: derived from the server's
	trust              trust
}

// A localService is a local address at which connections to a service are accepted.
type localService struct {
	gateway.Address
	service string // empty: the server's service without a name
}

func tunnelFlags(o *tunnelOptions) []cli.Flag {
	const group, alive = "Tunnel", "Liveness"
	many := settings.Enumerate(stack.Which(func(k stack.Kind) bool { return k.Multiplexed }), "and")
	return append([]cli.Flag{
		&cli.StringFlag{
			Name: "server", Category: group, Usage: "`URL` the gateway, TRANSPORT://HOST:PORT: " + settings.Enumerate(stack.Names, "or"),
			Action: func(c *cli.Context, text string) error {
				if err := o.addServer(text); err != nil {
					return settings.Usage("%s %q: %w", settings.Spell(c, "server"), text, err)
				}
				return nil
			},
		},
		settings.List(group, "listen", "`ADDR` accept connections on HOST:PORT or unix:PATH; ADDR=NAME for the server's service of that name", o.addListen),
		settings.List(group, "publish", "`NAME=ADDR` forward connections to the server's service NAME (serve --service) to ADDR, HOST:PORT or unix:PATH ("+many+")", o.addPublish),
		&cli.StringFlag{
			Name: "id", Category: group, Usage: "`ID` identifies the publisher: a tunnel replaces an older one of the same id (default: this machine's id and the names)", Destination: &o.id,
			Action: func(c *cli.Context, id string) error {
				if err := tunnel.CheckID(id); err != nil {
					return settings.Usage("%s %q: %w", settings.Spell(c, "id"), id, err)
				}
				return nil
			},
		},
		settings.File(group, "token-file", "send the token in this file to the server, NAME:TOKEN ("+many+")", &o.tokenFile),
		settings.Switch(group, "insecure-token", "send the token without TLS as well", &o.insecureToken),
		settings.Duration(group, "wait", "how long a connection waits while there is no session", &o.wait, 5*time.Second),
		settings.Duration(alive, "timeout", "close if the server has been silent for this long (default: three beats, and at least the server's own timeout; over tcp, 30s)", &o.timeout, 0),
	}, trustFlags(&o.trust)...)
}

func (o *tunnelOptions) addServer(text string) (err error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
		return errors.New("want TRANSPORT://HOST:PORT, such as quic://gw.example:7373")
	}
	if o.transport = u.Scheme; !slices.Contains(stack.Names, u.Scheme) {
		return fmt.Errorf("unknown transport: there are %s", settings.Enumerate(stack.Names, "and"))
	}
	o.address, err = settings.Address(u.Host)
	return err
}

func (o *tunnelOptions) addListen(text string) error {
	addr, service := text, ""
	if i := strings.LastIndex(text, "="); i >= 0 {
		addr, service = text[:i], text[i+1:]
		if err := tunnel.CheckName(service); err != nil {
			return err
		}
	}
	a, err := gateway.ParseAddress(addr)
	if err != nil && a.Network == "" {
		if host, port, failed := net.SplitHostPort(addr); failed == nil && port == "0" {
			a, err = gateway.Address{Network: "tcp", Addr: net.JoinHostPort(host, port)}, nil
		}
	}
	for _, l := range o.listen {
		if l.Address == a && !strings.HasSuffix(a.Addr, ":0") {
			err = errors.New("it is given twice")
		}
	}
	o.listen = append(o.listen, localService{a, service})
	return err
}

func (o *tunnelOptions) addPublish(text string) error {
	name, addr, ok := strings.Cut(text, "=")
	if !ok {
		return errors.New("want NAME=ADDR, such as ssh=127.0.0.1:22")
	}
	if err := tunnel.CheckName(name); err != nil {
		return err
	}
	a, err := gateway.ParseAddress(addr)
	if _, twice := o.publish[name]; twice {
		err = errors.New("the name is given twice")
	}
	if o.publish == nil {
		o.publish = make(map[string]gateway.Address)
	}
	o.publish[name] = a
	return err
}

// check refuses contradictory flags.
func (o *tunnelOptions) check(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	switch {
	case o.address == "":
		return settings.Usage("want a server: add %s quic://gw.example:7373, for instance", settings.Spell(c, "server"))
	case len(o.listen) == 0 && len(o.publish) == 0:
		return settings.Usage("nothing to forward: add %s 127.0.0.1:6379 or %s ssh=127.0.0.1:22, for instance", settings.Spell(c, "listen"), settings.Spell(c, "publish"))
	case len(o.publish) > 0 && !stack.Multiplexes(o.transport):
		return settings.Usage("%s needs a session with several streams: take %s", settings.Spell(c, "publish"),
			settings.Enumerate(stack.Which(func(k stack.Kind) bool { return k.Multiplexed }), "or"))
	case o.id != "" && len(o.publish) == 0:
		return settings.Usage("%s has no effect: add %s", settings.Spell(c, "id"), settings.Spell(c, "publish"))
	case o.tokenFile == "" && o.insecureToken:
		return settings.Usage("%s has no effect: add %s", settings.Spell(c, "insecure-token"), settings.Spell(c, "token-file"))
	case o.tokenFile != "" && !stack.Multiplexes(o.transport):
		return settings.Usage("%s: a session over tcp is one stream, without room for a token: use a certificate, %s", settings.Spell(c, "token-file"), settings.Spell(c, "tls-cert"))
	case o.timeout > 0 && o.timeout < liveness.LeastAckTimeout && !stack.Multiplexes(o.transport):
		return settings.Usage("%s is too short: over tcp acks are the evidence: take at least %v", settings.With(c, "timeout"), liveness.LeastAckTimeout)
	}
	if len(o.publish) > 0 && o.id == "" {
		o.id = tunnel.DefaultID(slices.Sorted(maps.Keys(o.publish)))
	}
	if err := o.trust.check(c, o.transport); err != nil || o.tokenFile == "" {
		return err
	}
	return settings.CheckToken(c, o.insecureToken, o.trust.tls)
}

// dialOptions returns the options of a dial to the same server.
func (o *tunnelOptions) dialOptions() dialOptions {
	d := dialOptions{address: o.address, transport: o.transport, codec: "frame", timeout: o.timeout, connectTimeout: connectTimeout, trust: o.trust}
	if !stack.Multiplexes(o.transport) {
		d.codec = "raw"
	}
	return d
}

// runTunnel forwards connections until ctx ends.
func runTunnel(ctx context.Context, p *process, o tunnelOptions) error {
	d := o.dialOptions()
	conf, err := o.trust.config(p, o.address)
	if err != nil {
		return err
	}
	limits := d.limits()
	limits.Streams = maxStreams
	t, err := stack.New(o.transport, conf, limits)
	if err != nil {
		return err
	}
	var token tunnel.Token
	if o.tokenFile != "" {
		if token, err = tunnel.ReadToken(o.tokenFile); err != nil {
			return settings.Usage("can't read the token: %w", err)
		}
	}
	say := &speaker{p: p}
	dialer := &recorder{Transport: t}
	client := &tunnel.Client{
		Transport: t, Multiplexed: stack.Multiplexes(o.transport), Addr: o.address, Wait: o.wait,
		Connected: func(s *liveness.Session) {
			say.line("connected to %s %s%s", o.transport, s.RemoteAddr(), terms(s.PeerHello()))
		},
		Failed: func(service string, remote net.Addr, err error) {
			say.line("a connection from %s%s ended: %s", from(remote), to(service), o.why(err))
		},
	}
	if client.Multiplexed {
		client.Transport, client.Dialer = dialer, d.client()
		client.Dialer.Events = func(e liveness.Event) {
			if e.What != liveness.Retrying {
				return
			}
			why := o.why(e.Err)
			if _, ended := e.Err.(*liveness.Error); !ended && dialer.connected {
				why = "can't connect: " + whyNoHello(e.Err)
			}
			say.line("%s: connecting again in %s", why, eventlog.Short(e.Wait))
		}
	} else {
		client.Dialer = &liveness.Client{Codec: codec.Raw, Policy: liveness.Sliding(ackTimeout), Evidence: codec.Acks, Transport: o.transport}
		if o.timeout > 0 {
			client.Dialer.Policy = liveness.Sliding(o.timeout)
		}
	}
	client.ID, client.Token, client.Publish = o.id, token, o.gateways(say)
	if p.hangups != nil {
		client.Retry = p.hangups()
	}
	return o.run(ctx, client, say)
}

// gateways returns a gateway to each published service.
func (o *tunnelOptions) gateways(say *speaker) map[string]*gateway.Gateway {
	all := make(map[string]*gateway.Gateway)
	for name, a := range o.publish {
		all[name] = gateway.New(gateway.Config{Forward: []gateway.Address{a}, Changed: func(a gateway.Address, cause string) {
			if cause == "" {
				say.line("%s can be reached at %s", name, a)
			} else {
				say.line("%s can't be reached at %s: %s", name, a, cause)
			}
		}})
	}
	return all
}

// run listens, and runs the client.
func (o *tunnelOptions) run(ctx context.Context, client *tunnel.Client, say *speaker) error {
	listeners := make([]net.Listener, 0, len(o.listen))
	for _, s := range o.listen {
		l, err := net.Listen(s.Network, s.Addr)
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
			return fmt.Errorf("can't listen on %s: %s", s.Address, whyNotListen(&settings.Listener{Address: s.Addr}, err))
		}
		listeners = append(listeners, l)
	}
	ctx, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	for i, l := range listeners {
		say.line("listening on %s%s", l.Addr(), to(o.listen[i].service))
		all.Go(func() { client.Serve(ctx, l, o.listen[i].service) })
	}
	for _, g := range client.Publish {
		all.Go(func() { g.Run(ctx) })
	}
	err := client.Run(ctx)
	end, ended := errors.AsType[*liveness.Error](err)
	if !ended {
		return err
	}
	if end.Reason == liveness.Superseded {
		say.line("closed by server: superseded: a newer tunnel has the id %s", o.id)
		return quietly(statusSuperseded)
	}
	say.line("%s", o.why(end))
	return quietly(statusOf(end, false))
}

// why returns the reason for the end of a session or connection, or why it was not opened.
func (o *tunnelOptions) why(err error) string {
	switch end, ok := err.(*liveness.Error); {
	case ok && refusal(err) == "":
		return end.Error()
	case errors.Is(err, tunnel.ErrNoSession):
		return err.Error()
	}
	return "can't connect: " + whyNotReached(o.dialOptions(), err)
}

// to and from return the ends of a connection as text.
func to(service string) string {
	if service == "" {
		return ""
	}
	return " to " + service
}

func from(remote net.Addr) string {
	if remote == nil || remote.String() == "" || remote.Network() == "unix" {
		return "a local process"
	}
	return remote.String()
}

// A speaker writes lines to stderr. It omits a line that repeats the previous one within a
// second.
type speaker struct {
	p    *process
	mu   sync.Mutex
	last string
	at   time.Time
}

func (s *speaker) line(format string, args ...any) {
	text := eventlog.Clean(fmt.Sprintf(format, args...))
	s.mu.Lock()
	defer s.mu.Unlock()
	if text == s.last && time.Since(s.at) < time.Second {
		return
	}
	s.last, s.at = text, time.Now()
	fmt.Fprintln(s.p.stderr, "livenet tunnel: "+text)
}
