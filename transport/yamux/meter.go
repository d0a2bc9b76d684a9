package yamux

import "time"

const (
	pingBurst = 64
	pingRate  = 32 // a second
)

// A meter is a token bucket for the pings of a peer. The zero value is full.
type meter struct {
	spent float64 // tokens taken and not yet refilled
	at    time.Time
}

// take reports whether there was a token left.
func (m *meter) take(now time.Time) bool {
	m.spent = max(0, m.spent-pingRate*now.Sub(m.at).Seconds())
	m.at = now
	if m.spent+1 > pingBurst {
		return false
	}
	m.spent++
	return true
}
