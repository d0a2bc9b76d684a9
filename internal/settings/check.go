package settings

import (
	"cmp"
	"runtime"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/internal/gateway"
	"github.com/livenet/livenet/internal/stack"
	"github.com/livenet/livenet/liveness"
)

// Check refuses contradictory flags, and sets the fields that follow from others.
func (l *Listener) Check(c *cli.Context) error {
	for _, check := range []func(*cli.Context) error{l.checkForward, l.checkToken, l.checkStreams, l.checkPolicy, l.checkTLS, l.checkIO} {
		if err := check(c); err != nil {
			return err
		}
	}
	l.TLS = l.TLS || l.Cert != "" || stack.AlwaysTLS(l.Transport)
	l.Opening = min(l.Opening, l.Timeout)
	if l.MaxBeats == 0 {
		l.MaxBeats = max(defaultMaxBeats, l.beatsAsked())
	}
	return nil
}

// checkForward also sets what is different where connections are forwarded.
func (l *Listener) checkForward(c *cli.Context) error {
	forward, from := Spell(c, nameForward), With(c, "evidence-from")
	if len(l.AcceptProxy) > 0 && !stack.Preambles(l.Transport) {
		return Usage("%s makes no sense over %s: no proxy puts a PROXY header before it", Spell(c, "accept-proxy"), l.Transport)
	}
	if len(l.AcceptProxy) > 0 && l.IO == IOParked {
		return Usage("%s and %s contradict each other: parked connections have no PROXY header", Spell(c, "accept-proxy"), With(c, "io"))
	}
	if len(l.Services) > 0 && !stack.Multiplexes(l.Transport) {
		return Usage("%s: a session over %s is one stream: to publish needs %s", Spell(c, nameService), l.Transport,
			Enumerate(stack.Which(func(k stack.Kind) bool { return k.Multiplexed }), "or"))
	}
	if len(l.Services) > 0 && c.IsSet("codec") {
		return Usage("%s and %s contradict each other: tunnels use a codec of their own", Spell(c, nameService), With(c, "codec"))
	}
	for name := range l.Services {
		if len(l.Forward[name]) > 0 {
			return Usage("%s and %s both have the service %s: it is one or the other", forward, Spell(c, nameService), name)
		}
	}
	if len(l.Forward) == 0 && len(l.Services) == 0 {
		for _, name := range []string{"health", "evidence-from", "proxy-protocol"} {
			if c.IsSet(name) {
				return Usage("%s goes with a service: add %s", Spell(c, name), forward)
			}
		}
		return nil
	}
	if !c.IsSet("codec") {
		l.Codec = "raw"
		l.Tunnels = stack.Multiplexes(l.Transport)
	}
	if !c.IsSet("evidence") {
		l.Evidence = evidence[codec.Acks]
	}
	acks := l.Counts() == codec.Acks
	switch {
	case c.IsSet("handler"):
		return Usage("%s and %s contradict each other: the service handles what comes", l.forwards(c), Spell(c, "handler"))
	case l.IO == IOParked:
		return Usage("%s and %s contradict each other: a connection that is forwarded takes two goroutines", forward, With(c, "io"))
	case acks && !c.IsSet("evidence") && l.Timeout < liveness.LeastAckTimeout:
		return Usage("%s is too short for %s, where acks are the evidence: take at least %v, or give %s",
			With(c, "timeout"), l.forwards(c), liveness.LeastAckTimeout, Spell(c, "evidence"))
	case l.EvidenceFrom == FromClient:
	case l.Policy == Fixed:
		return Usage("%s makes no sense with the fixed policy: silence is nothing to it", from)
	case l.EvidenceFrom == FromUpstream && stack.Multiplexes(l.Transport):
		return Usage("%s: a session over %s carries connections to several services, so the client must be judged: take %s", from, l.Transport, FromEither)
	case acks && l.forwardsToUnix():
		return Usage("%s needs evidence that a Unix socket can give: give %s bytes", from, Spell(c, "evidence"))
	}
	return nil
}

func (l *Listener) checkToken(c *cli.Context) error {
	token := Spell(c, nameToken)
	switch {
	case l.TokenFile == "" && l.InsecureToken:
		return Usage("%s has no effect: add %s", Spell(c, nameInsecureToken), token)
	case l.TokenFile == "":
		return nil
	case !stack.Multiplexes(l.Transport):
		return Usage("%s: a session over %s is one stream, without room for a token: take %s", token, l.Transport, Spell(c, "client-ca"))
	case !l.Tunnels:
		return Usage("%s is for tunnels: add %s or %s, and no codec", token, Spell(c, nameForward), Spell(c, nameService))
	}
	return CheckToken(c, l.InsecureToken, l.TLS || l.Cert != "" || stack.AlwaysTLS(l.Transport))
}

// CheckToken refuses tokens without TLS, unless insecure is set.
func CheckToken(c *cli.Context, insecure, secure bool) error {
	if secure || insecure {
		return nil
	}
	return Usage("%s needs TLS: add %s, or %s to send tokens in plain text", Spell(c, nameToken), Spell(c, "tls"), Spell(c, nameInsecureToken))
}

// forwards returns the flag that makes the listener forward.
func (l *Listener) forwards(c *cli.Context) string {
	if len(l.Forward) == 0 {
		return Spell(c, nameService)
	}
	return Spell(c, nameForward)
}

func (l *Listener) forwardsToUnix() bool {
	for _, list := range l.Forward {
		if slices.ContainsFunc(list, func(a gateway.Address) bool { return a.Network == "unix" }) {
			return true
		}
	}
	return false
}

func (l *Listener) checkStreams(c *cli.Context) error {
	policy, timeout := Spell(c, "stream-policy"), Spell(c, "stream-timeout")
	many := stack.Multiplexes(l.Transport)
	switch {
	case l.StreamPolicy != "" && !many:
		return Usage("%s: a session over %s is one stream: %s judges it", policy, l.Transport, Spell(c, "policy"))
	case l.StreamTimeout > 0 && !many:
		return Usage("%s: a session over %s is one stream: %s judges it", timeout, l.Transport, Spell(c, "policy"))
	case l.StreamPolicy != "" && l.StreamTimeout == 0:
		return Usage("a policy needs a timeout: %s goes with %s", policy, timeout)
	case l.StreamTimeout > 0 && l.StreamPolicy == "":
		return Usage("%s has no policy to go with: add %s", timeout, policy)
	case c.IsSet("max-streams") && !many:
		return Usage("%s has no effect: a session over %s is one stream", With(c, "max-streams"), l.Transport)
	}
	return nil
}

func (l *Listener) checkPolicy(c *cli.Context) error {
	timeout, probe := With(c, "timeout"), With(c, "probe-after")
	switch {
	case c.IsSet("opening") && l.Opening > l.Timeout:
		return Usage("%s has no effect: %s ends a peer that says nothing before", With(c, "opening"), timeout)
	case l.MaxAgeJitter > 0 && l.MaxAge == 0:
		return Usage("%s has nothing to vary: add %s", Spell(c, "max-age-jitter"), Spell(c, "max-age"))
	case l.MaxAge > 0 && l.Policy == Fixed && l.MaxAge >= l.Timeout:
		return Usage("%s is never reached: the fixed policy ends sessions at %s", With(c, "max-age"), timeout)

	case l.ProbeAfter > 0 && l.Policy == Fixed:
		return Usage("%s makes no sense with the fixed policy: an answer would change nothing", probe)
	case l.ProbeAfter >= l.Timeout:
		return Usage("%s must be below %s: there would be no time to answer", probe, timeout)
	case l.ProbeAfter > 0 && l.Codec == "raw":
		return Usage("%s makes no sense with the raw codec: it has no ping; line, frame and auto have", probe)
	case l.Counts() > codec.Bytes && l.Codec == "raw":
		return Usage("%s makes no sense with the raw codec: it knows bytes only", With(c, "evidence"))

	case l.Counts() == codec.Acks && min(l.Timeout, cmp.Or(l.StreamTimeout, l.Timeout)) < liveness.LeastAckTimeout:
		return Usage("%s needs a timeout of at least %v: kernels ask by the second", With(c, "evidence"), liveness.LeastAckTimeout)

	case l.MinPace > 0 && l.Policy == Fixed && l.StreamPolicy != Sliding:
		return Usage("%s is judged over a sliding policy's timeout: there is none", With(c, "min-pace"))

	case l.MaxBeats > 0 && l.MaxBeats < l.beatsAsked(): // it would close clients that beat as requested
		return Usage("%s is too few: with this timeout up to %d a second are requested from clients", With(c, "max-beats"), l.beatsAsked())
	}
	return nil
}

// beatsAsked returns how many heartbeats a second the listener makes its clients send at most:
// three per timeout, and an answer to a probe.
func (l *Listener) beatsAsked() int {
	d := time.Duration(0)
	if l.Policy == Sliding {
		d = l.Timeout
	}
	if l.StreamPolicy == Sliding && (d == 0 || l.StreamTimeout < d) {
		d = l.StreamTimeout
	}
	if d == 0 {
		return 0
	}
	const perTimeout = 4
	return int(perTimeout*time.Second/d) + 1
}

func (l *Listener) checkTLS(c *cli.Context) error {
	always := stack.AlwaysTLS(l.Transport)
	off := c.IsSet("tls") && !l.TLS
	switch {
	case off && always:
		return Usage("%s can't be false: %s always has TLS", Spell(c, "tls"), l.Transport)
	case off && l.Cert != "":
		return Usage("%s has no effect where %s is false", Spell(c, "tls-cert"), Spell(c, "tls"))
	case l.ClientCA != "" && !l.TLS && l.Cert == "" && !always:
		return Usage("%s needs TLS: add %s", Spell(c, "client-ca"), Spell(c, "tls"))
	case l.ResetKey != "" && !stack.HasResetKey(l.Transport):
		return Usage("%s has no effect: over %s the kernel resets the sessions of a server that was killed", Spell(c, "reset-key"), l.Transport)
	case l.ResetKey != "" && l.ReusePort:
		return Usage("%s and %s contradict each other: a process would reset the others' sessions", Spell(c, "reset-key"), Spell(c, "reuse-port"))
	}
	return CheckPair(c, l.Cert, l.Key)
}

// CheckPair refuses a certificate without a key, or the other way round, in the
// flags "tls-cert" and "tls-key".
func CheckPair(c *cli.Context, cert, key string) error {
	switch {
	case cert != "" && key == "":
		return Usage("%s is without its key: add %s", Spell(c, "tls-cert"), Spell(c, "tls-key"))
	case key != "" && cert == "":
		return Usage("%s is without its certificate: add %s", Spell(c, "tls-key"), Spell(c, "tls-cert"))
	}
	return nil
}

func (l *Listener) checkIO(c *cli.Context) error {
	if l.IO == IOParked && !stack.Parks(l.Transport) {
		parks := stack.Which(func(k stack.Kind) bool { return k.Parks })
		return Usage("%s can't be had: only %s on Linux parks, and this is %s on %s", With(c, "io"), Enumerate(parks, "and"), l.Transport, runtime.GOOS)
	}
	return nil
}
