package settings

import (
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/internal/stack"
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
	Evidence      codec.Evidence
	MaxBeats      int
	StreamPolicy  string // empty: the session's policy answers for its streams
	StreamTimeout time.Duration

	Codec   codec.Codec
	Handler string

	TLS       bool
	Cert, Key string // files; empty: the development certificate
	ClientCA  string // a file; empty: clients need no certificate
}

// Names of the policies.
const (
	Fixed   = "fixed"
	Sliding = "sliding"
)

// What waits for input on an idle connection.
const (
	IOAuto      = "auto"
	IOGoroutine = "goroutine"
	IOParked    = "parked"
)

// Parked reports whether the listener's connections are to park.
func (l *Listener) Parked() bool { return l.IO != IOGoroutine && stack.Parks(l.Transport) }

// SessionPolicy judges the listener's sessions.
func (l *Listener) SessionPolicy() liveness.Policy {
	p := policy(l.Policy, l.Timeout, l.ProbeAfter)
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
	return policy(l.StreamPolicy, l.StreamTimeout, 0)
}

func policy(name string, timeout, probe time.Duration) liveness.Policy {
	switch {
	case name == Fixed:
		return liveness.Fixed(timeout)
	case probe > 0:
		return liveness.Sliding(timeout, liveness.ProbeAfter(probe))
	default:
		return liveness.Sliding(timeout)
	}
}
