package liveness

import (
	"log/slog"
	"math"
	"time"

	"github.com/livenet/livenet/codec"
)

// Config says how the connections of one listener are judged. This package doesn't change it; it
// must not be changed while it is in use.
type Config struct {
	// Policy judges every session. It is required.
	Policy Policy

	// Opening is the time from accept, TLS handshake included, within which a peer must be
	// heard for the first time; 0 means 10 s. A peer that is not is ended with [NoHello].
	Opening time.Duration

	// Evidence is what renews a lease: any answer of the peer's transport stack, any
	// byte, a complete message, or only a heartbeat. The zero value means bytes for a
	// Server. For [NewListener] and [NewConn] it means acks on TCP if the policy's timeout
	// is at least 3 s, else bytes, since this package doesn't know their protocol.
	//
	// With acks, the stack's answers count only after the peer has sent something; a policy
	// with a timeout below 3 s is an error; and bytes are the evidence if the stack can't be
	// queried. Without a codec, messages and beats are not recognized: the application has
	// to call [Conn.Renew].
	Evidence codec.Evidence

	// MaxBeats is how many heartbeats per second a peer may send on one stream before it
	// is ended with [TooManyBeats]; 0 means 100, or four times as many as the Hello
	// asks for, if that is more. Larger values are cut to [math.MaxInt32].
	MaxBeats int

	// MinPace is how many bytes per second a peer must take while data waits for it; 0
	// means no minimum. A slower peer is ended with [TooSlow]. The pace is measured over the
	// timeout of a sliding policy, or the time for 1 KiB at this pace if that is longer. The
	// verdict takes at most one and a half times as long. Over TCP on Linux, data waits until
	// it is acknowledged; elsewhere, until Write has passed it to the stream.
	MinPace int

	// Engine grants the leases; nil means one that the process shares. To read
	// [Engine.Stats], set one.
	Engine *Engine

	// Events receives each event. It is called by the goroutine that caused the event,
	// possibly by many at once. It must return soon, and must not close the event's
	// connection.
	Events func(Event)

	// ErrorLog receives what no event reports: panics after a connection's end, and calls of
	// Events that have not returned for a second. If Events is nil, it also receives errors
	// and panics of handlers, and failures to accept. Nil means [slog.Default].
	ErrorLog *slog.Logger

	// Name and Transport name the listener and its transport in events.
	Name, Transport string
}

const (
	defaultOpening  = 10 * time.Second
	defaultMaxBeats = 100
)

func (c *Config) engine() *Engine {
	if c.Engine != nil {
		return c.Engine
	}
	return &defaultEngine
}

func (c *Config) opening() time.Duration {
	if c.Opening > 0 {
		return c.Opening
	}
	return defaultOpening
}

// maxBeats returns the limit for a peer that was asked to beat at an interval; 0: it was not.
func (c *Config) maxBeats(asked time.Duration) int32 {
	const lenience = 4
	switch {
	case c.MaxBeats > 0:
		return int32(min(c.MaxBeats, math.MaxInt32))
	case asked > 0:
		return int32(min(max(defaultMaxBeats, lenience*time.Second/asked), math.MaxInt32))
	}
	return defaultMaxBeats
}

// policy adds the deadline of the opening phase to p.
func (c *Config) policy(p Policy) *connPolicy {
	return &connPolicy{Policy: p, opening: within(c.opening())}
}
