package yamux

import (
	"errors"
	"time"
)

// ErrPingFlood is why a session ended whose peer pinged too often.
var ErrPingFlood = errors.New("yamux: too many pings from the peer")

const (
	pingBurst = 64
	pingRate  = 32 // a second
)

// A pingLimit is a token bucket for the pings of a peer. The zero value is full.
type pingLimit struct {
	spent float64 // tokens taken and not yet refilled
	at    time.Time
}

// take reports whether there was a token left.
func (l *pingLimit) take(now time.Time) bool {
	refilled := max(0, l.spent-pingRate*now.Sub(l.at).Seconds())
	if l.at, l.spent = now, refilled; l.spent+1 > pingBurst {
		return false
	}
	l.spent++
	return true
}
