package liveness

import (
	"log/slog"
	"math"
	"time"

	"github.com/livenet/livenet/codec"
)

// Config says how the connections of one listener are judged. It is not
// changed by this package, and must not be changed while it is in use.
type Config struct {
	// Policy judges every session. It is required.
	Policy Policy

	// Opening is the time from accept within which a peer must be heard for the
	// first time, a handshake of TLS included; 0 means 10 s.
	Opening time.Duration

	// Evidence is what counts as a sign of life: any answer of the peer's transport
	// stack, any byte, a complete message, or only a heartbeat. The zero value means
	// bytes for a Server; for [NewListener] and [NewConn], whose protocol this package
	// doesn't know, it means acks where that is TCP and the policy's timeout at least
	// 3 s, and bytes otherwise. With acks a peer must have sent something before its
	// stack's answers count; a timeout below 3 s is refused; and a connection whose
	// stack can't be asked is judged by bytes. Where a connection has no codec,
	// messages and beats can't be told: its owner calls [Conn.Renew].
	Evidence codec.Evidence

	// MaxBeats is how many heartbeats a second a peer may send on one stream
	// before it is ended with [TooManyBeats]; 0 means [DefaultMaxBeats], or
	// several times what the policy makes the peer send, if that is more. More than
	// [math.MaxInt32] is as much as that.
	MaxBeats int

	// MinPace is how many bytes a second a peer must take of those that wait for it;
	// 0 means any. It is judged over the timeout of a sliding policy, or as long as
	// 1 KiB takes, if that is longer; and a peer that has taken less is ended with
	// [TooSlow], within one and a half times that. What waits is what TCP has not got
	// acknowledged, on Linux, and elsewhere what a Write has not handed over yet.
	MinPace int

	// Engine grants the leases; nil means one that the process shares. To read
	// [Engine.Stats], set one.
	Engine *Engine

	// Events is told of everything that happens. It is called from whichever
	// goroutine made it happen, possibly many at once, must return soon, and must
	// not close the connection that it is told of.
	Events func(Event)

	// ErrorLog is told what would vanish otherwise: where Events is nil, the errors of
	// handlers, with their panics, and of accepting; and always that Events has not
	// returned for a second, and a panic after the connection's end. Nil means
	// [slog.Default].
	ErrorLog *slog.Logger

	// Name and Transport are what events call the listener and its transport.
	Name, Transport string
}

const (
	defaultOpening  = 10 * time.Second
	DefaultMaxBeats = 100
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

// maxBeats is the limit for a peer that is asked to beat at an interval; 0: it
// is not asked.
func (c *Config) maxBeats(asked time.Duration) int32 {
	const lenience = 4
	switch {
	case c.MaxBeats > 0:
		return int32(min(c.MaxBeats, math.MaxInt32))
	case asked > 0:
		return int32(min(max(DefaultMaxBeats, lenience*time.Second/asked), math.MaxInt32))
	}
	return DefaultMaxBeats
}

// policy is p with the opening phase's deadline.
func (c *Config) policy(p Policy) *connPolicy {
	return &connPolicy{Policy: p, opening: within(c.opening())}
}
