package settings

import (
	"strings"
	"time"

	"github.com/livenet/livenet/liveness"
)

// Valid durations. A deadline below two ticks, which is how late an expiry may be, is
// meaningless. More than ten years is most likely a mistake.
const (
	MinDuration = 2 * liveness.DefaultTick
	MaxDuration = 10 * 365 * 24 * time.Hour
)

// Text formats a duration as a user would write it: 1h, and not 1h0m0s.
func Text(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
