// Package settings is what the command can be told: kinds of flags that check
// their own value, and the flags of a listener, from which the query of a listener's
// URL is derived. What this package returns does not contradict itself.
package settings

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/internal/gateway"
	"github.com/livenet/livenet/internal/stack"
	"github.com/livenet/livenet/internal/tunnel"
	"github.com/livenet/livenet/liveness"
)

// Listener is everything that is to be known to open a listener.
type Listener struct {
	Transport string
	Address   string // host:port
	ReusePort bool
	IO        string

	MaxStreams int

	Policy        string
	Timeout       time.Duration
	Opening       time.Duration
	MaxAge        time.Duration // 0: none
	MaxAgeJitter  time.Duration
	ProbeAfter    time.Duration // 0: never
	Evidence      string
	MaxBeats      int
	MinPace       int    // bytes a second; 0: any
	StreamPolicy  string // empty: the session's policy answers for its streams
	StreamTimeout time.Duration

	Codec   string
	Handler string

	Forward       map[string][]gateway.Address // addresses by the service's name; empty: connections go to the handler
	Services      map[string]string            // host:port by the name of the published service
	Tunnels       bool                         // livenet tunnel may connect
	TokenFile     string                       // empty: tunnels need no token
	InsecureToken bool                         // accept tokens without TLS
	Health        time.Duration                // 0: never
	EvidenceFrom  string
	ProxyProtocol string // a version, "v1" or "v2"; empty: none
	AcceptProxy   []netip.Prefix

	TLS       bool
	Cert, Key string // files; empty: the development certificate
	ClientCA  string // a file; empty: clients need no certificate
	ResetKey  string // a file; empty: the one beside the development certificate, or none
}

// Names of the policies.
const (
	Fixed   = "fixed"
	Sliding = "sliding"
)

// Whose silence ends a session that is forwarded.
const (
	FromClient   = "client"
	FromUpstream = "upstream"
	FromEither   = "either"
)

// What waits for input on an idle connection.
const (
	IOAuto      = "auto"
	IOGoroutine = "goroutine"
	IOParked    = "parked"
)

var (
	policies = []string{Fixed, Sliding}
	evidence = []string{"", "acks", "bytes", "messages", "beats"} // by codec.Evidence
)

// More than these a peer could have no use for.
const (
	mostBeats = 1_000_000

	defaultMaxBeats = 100
	mostStreams     = 1_000_000
)

// Flags are the flags that describe a listener, which they write to l. Handlers are
// the names of the handlers that there are. Once they are parsed, see [Listener.Check].
func Flags(l *Listener, handlers []string) []cli.Flag {
	const listener, forwarding, policy, security = "Listener", "Forwarding", "Policy", "TLS"
	many := Enumerate(stack.Which(func(k stack.Kind) bool { return k.Multiplexed }), "and")
	parks := Enumerate(stack.Which(func(k stack.Kind) bool { return k.Parks }), "and")
	resets := Enumerate(stack.Which(func(k stack.Kind) bool { return k.ResetKey }), "and")
	preambles := Enumerate(stack.Which(func(k stack.Kind) bool { return k.Preamble }), "and")
	return []cli.Flag{
		&cli.StringFlag{
			Name: nameListen, Category: listener, Usage: "`ADDR` where to listen; port 0 takes a free one",
			Destination: &l.Address, Value: DefaultHost + ":" + DefaultPort, Action: l.complete,
		},
		OneOf(listener, nameTransport, Enumerate(stack.Names, "or"), &l.Transport, "tcp", stack.Names...),
		OneOf(listener, "codec", "auto, frame, line or raw; auto tells frame from raw (with --forward: raw)", &l.Codec, "auto", "auto", "frame", "line", "raw"),
		OneOf(listener, "handler", "echo, discard, or log: write what comes to stdout", &l.Handler, "echo", handlers...),
		OneOf(listener, "io", "how an idle connection waits: goroutine, or parked, which needs none ("+parks+" on Linux); auto parks where it can",
			&l.IO, IOAuto, IOAuto, IOGoroutine, IOParked),
		Number(listener, "max-streams", "streams served at a time in a session; further ones wait ("+many+")",
			&l.MaxStreams, 1024, 1, mostStreams),
		Switch(listener, "reuse-port", "share the port with other processes of this user that set this flag", &l.ReusePort),

		List(forwarding, nameForward, "`ADDR` a service to forward connections to, HOST:PORT or unix:PATH; of several, the one with the fewest connections; NAME=ADDR for streams that request it by name, as livenet tunnel does", l.addForward),
		List(forwarding, nameService, "`NAME=ADDR` listen on HOST:PORT for connections to a service that a livenet tunnel publishes by this name ("+many+")", l.addService),
		File(forwarding, nameToken, "accept only tunnels with one of these tokens, NAME:TOKEN a line; read again when it has changed ("+many+")", &l.TokenFile),
		Switch(forwarding, nameInsecureToken, "accept tokens without TLS as well", &l.InsecureToken),
		Duration(forwarding, "health", "how often to dial services that could not be dialled", &l.Health, 0),
		OneOf(forwarding, "evidence-from", "whose silence ends a connection: client, upstream (the service) or either", &l.EvidenceFrom, FromClient, FromClient, FromUpstream, FromEither),
		OneOf(forwarding, "proxy-protocol", "begin connections to the service with a PROXY header, v1 or v2, that tells the client's address", &l.ProxyProtocol, "", "v1", "v2"),
		List(forwarding, "accept-proxy", "`CIDR` take the client's address from the PROXY header with which connections from these networks begin ("+preambles+")", l.addProxy),

		OneOf(policy, "policy", "sliding: the timeout counts from the last sign of life; fixed: from accept", &l.Policy, Sliding, policies...),
		timeout(policy, "timeout", "the policy's timeout", &l.Timeout, 30*time.Second),
		Duration(policy, "opening", "time for a peer to be heard for the first time; at most the timeout", &l.Opening, 10*time.Second),
		Duration(policy, "max-age", "end sessions of this age, however active", &l.MaxAge, 0),
		Duration(policy, "max-age-jitter", "let each session get older by up to this, at random", &l.MaxAgeJitter, 0),
		Duration(policy, "probe-after", "ping a peer that has been silent for this long", &l.ProbeAfter, 0),
		OneOf(policy, "evidence", "what counts as a sign of life: acks (of the peer's kernel or transport), bytes, messages or beats (with --forward: acks)", &l.Evidence, evidence[codec.Bytes], evidence[codec.Acks:]...),
		Number(policy, "max-beats", "heartbeats a second that a peer may send (default: 100, or more if the timeout asks for more)", &l.MaxBeats, 0, 1, mostBeats),
		Size(policy, "min-pace", "bytes a second that a peer must take while data waits for it, over the sliding policy's timeout", &l.MinPace),
		OneOf(policy, "stream-policy", "a policy for each stream as well ("+many+")", &l.StreamPolicy, "", policies...),
		timeout(policy, "stream-timeout", "the stream policy's timeout", &l.StreamTimeout, 0),

		Switch(security, "tls", TLSUsage(), &l.TLS),
		File(security, "tls-cert", "certificate chain, PEM (default: a development certificate)", &l.Cert),
		File(security, "tls-key", "its private key, PEM", &l.Key),
		File(security, "client-ca", "require client certificates of these authorities, PEM", &l.ClientCA),
		File(security, "reset-key", "key by which "+resets+" resets the sessions of a server that was killed; made if there is no such file (default: beside the development certificate)", &l.ResetKey),
	}
}

// TLSUsage says which transports have TLS when.
func TLSUsage() string {
	always := stack.Which(func(k stack.Kind) bool { return k.AlwaysTLS })
	optional := stack.Which(func(k stack.Kind) bool { return !k.AlwaysTLS })
	return fmt.Sprintf("TLS for %s; %s always has it", Enumerate(optional, "and"), Enumerate(always, "and"))
}

// timeout is a Duration that no policy can be without.
func timeout(group, name, usage string, to *time.Duration, value time.Duration) cli.Flag {
	f := Duration(group, name, usage, to, value)
	inRange := f.Action
	f.Action = func(c *cli.Context, d time.Duration) error {
		if d == 0 {
			return Usage("a policy needs a timeout: give %s a duration, such as 30s", Spell(c, name))
		}
		return inRange(c, d)
	}
	return f
}

// complete is the Action of the address.
func (l *Listener) complete(c *cli.Context, text string) (err error) {
	if l.Address, err = Address(text); err != nil {
		return Usage("%s %w", Spell(c, nameListen), err)
	}
	return nil
}

func (l *Listener) addForward(text string) error {
	name, addr, err := SplitName(text)
	if err != nil {
		return err
	}
	a, err := gateway.ParseAddress(addr)
	if slices.Contains(l.Forward[name], a) {
		err = errors.New("it is given twice")
	}
	if l.Forward == nil {
		l.Forward = make(map[string][]gateway.Address)
	}
	l.Forward[name] = append(l.Forward[name], a)
	return err
}

func (l *Listener) addService(text string) error {
	name, addr, ok := strings.Cut(text, "=")
	if !ok {
		return errors.New("want NAME=HOST:PORT")
	}
	if err := tunnel.CheckName(name); err != nil {
		return err
	}
	addr, err := Address(addr)
	if err != nil {
		return err
	}
	if l.Services[name] != "" {
		return errors.New("the name is given twice")
	}
	if l.Services == nil {
		l.Services = make(map[string]string)
	}
	l.Services[name] = addr
	return nil
}

// ServiceListener returns the settings of the listener for a published service. Its policy
// for the service's clients is the one that l has for tunnels.
func (l *Listener) ServiceListener(name string) *Listener {
	s := *l
	s.Transport, s.Address, s.Codec = "tcp", l.Services[name], "raw"
	s.TLS, s.Cert, s.Key, s.ClientCA, s.ResetKey = false, "", "", "", ""
	s.Forward, s.Services, s.Tunnels, s.TokenFile, s.AcceptProxy = nil, nil, false, "", nil
	s.StreamPolicy, s.StreamTimeout, s.ProbeAfter = "", 0, 0
	s.Evidence = evidence[min(l.Counts(), codec.Bytes)]
	s.Opening = 2 * l.Opening // for the tunnel, and for the first bytes of the client
	return &s
}

// SplitName splits NAME=REST. Without a name, it returns an empty one and all of text.
func SplitName(text string) (name, rest string, err error) {
	name, rest, ok := strings.Cut(text, "=")
	if !ok || strings.HasPrefix(text, "unix:") { // a path may hold anything
		return "", text, nil
	}
	return name, rest, tunnel.CheckName(name)
}

func (l *Listener) addProxy(text string) error {
	prefix, err := netip.ParsePrefix(text)
	if addr, failed := netip.ParseAddr(text); failed == nil {
		prefix, err = addr.Prefix(addr.BitLen())
	}
	if err != nil {
		return errors.New("want a network, such as 10.0.0.0/8, or an address")
	}
	l.AcceptProxy = append(l.AcceptProxy, prefix.Masked())
	return nil
}

// Parked reports whether idle connections are to do without a goroutine.
func (l *Listener) Parked() bool {
	return l.IO != IOGoroutine && len(l.AcceptProxy) == 0 && stack.Parks(l.Transport)
}

// Patience is the longest silence of a client that the listener's policies bear.
func (l *Listener) Patience() time.Duration {
	if l.EvidenceFrom == FromUpstream {
		return liveness.Never
	}
	return l.Timeout
}

// Counts returns what counts as evidence of a peer's life.
func (l *Listener) Counts() codec.Evidence { return codec.Evidence(slices.Index(evidence, l.Evidence)) }

// AskEvery is how often an idle peer's transport is to be asked for an answer; 0: answers
// are no evidence.
func (l *Listener) AskEvery() time.Duration {
	if l.Counts() != codec.Acks {
		return 0
	}
	const asks = 3 // of which one may be lost, and one late
	return l.Timeout / asks
}

// SessionPolicy judges the listener's sessions.
func (l *Listener) SessionPolicy() liveness.Policy {
	p := newPolicy(l.Policy, l.Timeout, l.ProbeAfter)
	if l.EvidenceFrom == FromUpstream {
		p = upstreamOnly{p}
	}
	if l.MaxAge > 0 {
		p = liveness.Earliest(p, liveness.MaxAge(l.MaxAge, l.MaxAgeJitter))
	}
	return p
}

// StreamsPolicy judges each stream by itself, or is nil.
func (l *Listener) StreamsPolicy() liveness.Policy {
	if l.StreamPolicy == "" {
		return nil
	}
	return newPolicy(l.StreamPolicy, l.StreamTimeout, 0)
}

// ProxyVersion is that of the PROXY header for services; 0: none.
func (l *Listener) ProxyVersion() byte {
	if l.ProxyProtocol == "" {
		return 0
	}
	return l.ProxyProtocol[1] - '0'
}

// UpstreamPolicy judges the connections to services, or is nil.
func (l *Listener) UpstreamPolicy() liveness.Policy {
	if l.EvidenceFrom == FromUpstream || l.EvidenceFrom == FromEither {
		return liveness.Sliding(l.Timeout)
	}
	return nil
}

// UpstreamCounts returns what counts as evidence of a service's life: it speaks no codec.
func (l *Listener) UpstreamCounts() codec.Evidence { return min(l.Counts(), codec.Bytes) }

// upstreamOnly never ends a client for its silence.
type upstreamOnly struct{ upstream liveness.Policy }

func (upstreamOnly) Judge(liveness.History) liveness.Verdict {
	return liveness.Verdict{At: liveness.Never}
}
func (upstreamOnly) Deadline(liveness.History) time.Duration { return liveness.Never }
func (p upstreamOnly) String() string                        { return fmt.Sprintf("%v of the upstream", p.upstream) }

func newPolicy(name string, timeout, probe time.Duration) liveness.Policy {
	switch {
	case name == Fixed:
		return liveness.Fixed(timeout)
	case probe > 0:
		return liveness.Sliding(timeout, liveness.ProbeAfter(probe))
	default:
		return liveness.Sliding(timeout)
	}
}
