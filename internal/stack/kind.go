package stack

import (
	"crypto/tls"
	"runtime"
	"slices"

	quicgo "github.com/quic-go/quic-go"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/quic"
	"github.com/livenet/livenet/transport/yamux"
)

// A Kind is a transport with a name.
type Kind struct {
	Name        string
	Multiplexed bool // a session carries many streams
	AlwaysTLS   bool // it requires TLS
	Preamble    bool // a connection may begin with bytes of a proxy: see Limits
	Parks       bool // on Linux an idle connection needs no goroutine
	ResetKey    bool // it has stateless reset keys

	build func(*tls.Config, Limits) transport.Transport
}

// Kinds are all transports, sorted by name. The command's help and checks are derived from
// this list.
var Kinds = []Kind{
	{Name: "quic", Multiplexed: true, AlwaysTLS: true, ResetKey: true, build: func(conf *tls.Config, l Limits) transport.Transport {
		return quic.Transport{TLS: conf, Config: l.quic(), ReusePort: l.ReusePort, StatelessResetKey: (*quicgo.StatelessResetKey)(l.ResetKey)}
	}},
	{Name: "tcp", Preamble: true, Parks: true, build: func(conf *tls.Config, l Limits) transport.Transport {
		t := l.tcp(conf)
		t.Parked = l.Parked
		return t
	}},
	{Name: "yamux", Multiplexed: true, Preamble: true, build: func(conf *tls.Config, l Limits) transport.Transport {
		return yamux.Transport{Inner: l.tcp(conf)}
	}},
}

// Names of the transports.
var Names = Which(func(Kind) bool { return true })

// Which returns the names of the kinds for which is returns true.
func Which(is func(Kind) bool) []string {
	var names []string
	for _, k := range Kinds {
		if is(k) {
			names = append(names, k.Name)
		}
	}
	return names
}

// kind returns the kind of that name, or one without a name.
func kind(name string) Kind {
	if i := slices.IndexFunc(Kinds, func(k Kind) bool { return k.Name == name }); i >= 0 {
		return Kinds[i]
	}
	return Kind{}
}

// Multiplexes reports whether a session of the transport carries many streams.
func Multiplexes(name string) bool { return kind(name).Multiplexed }

// AlwaysTLS reports whether the transport requires TLS.
func AlwaysTLS(name string) bool { return kind(name).AlwaysTLS }

// HasResetKey reports whether a listener of the transport can have a key with which it resets
// the sessions of a killed process.
func HasResetKey(name string) bool { return kind(name).ResetKey }

// Preambles reports whether a connection of the transport may begin with bytes of a proxy.
func Preambles(name string) bool { return kind(name).Preamble }

// Parks reports whether idle connections of the transport need no goroutine on this system.
func Parks(name string) bool { return kind(name).Parks && runtime.GOOS == "linux" }
