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

	// Opening is the time from accept within which a peer must be heard for the first
	// time, a TLS handshake included; 0 means 10 s.
	Opening time.Duration

	// Evidence is what renews a lease: any answer of the peer's transport stack, any
	// byte, a complete message, or only a heartbeat. The zero value means bytes for a
	// Server. For [NewListener] and [NewConn] it means acks on TCP if the policy's timeout
	// is at least 3 s, else bytes, since this package doesn't know their protocol.
	//
	// With acks, a peer must have sent something before its stack's answers count; a
	// policy with a timeout below 3 s is an error; and bytes are the evidence where the
	// stack can't be queried. Without a codec, messages and beats are not recognized, and
	// the application calls [Conn.Renew].
	Evidence codec.Evidence

	// MaxBeats is how many heartbeats per second a peer may send on one stream before it
	// is ended with [TooManyBeats]; 0 means 100, or four times as many as the Hello
	// asks for, if that is more. Larger values are cut to [math.MaxInt32].
	MaxBeats int

	// MinPace is how many bytes per second a peer must take while data waits for it; 0
	// means any number. It is judged over the timeout of a sliding policy, or the time
	// that 1 KiB takes if that is longer. A slower peer is ended with [TooSlow], within one
	// and a half times that. Data waits until it is acknowledged, over TCP on Linux;
	// elsewhere until Write has passed it to the stream.
	MinPace int

	// Engine grants the leases; nil means one that the process shares. To read
	// [Engine.Stats], set one.
	Engine *Engine

	// Events receives each event. It is called by the goroutine that caused the event,
	// possibly by many at once. It must return soon, and must not close the event's
	// connection.
	Events func(Event)

	// ErrorLog receives what no event reports: without Events, handlers' errors and panics,
	// and failures of accepting; always, calls of Events that have not returned for a
	// second, and panics after a connection's end. Nil means [slog.Default].
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
