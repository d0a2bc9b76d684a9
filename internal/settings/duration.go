package settings

import (
	"strings"
	"time"

	"github.com/livenet/livenet/liveness"
)

// Durations that make sense. Below two ticks, which is how late an expiry may
// be, a deadline promises nothing; and what is to happen in ten years is more
// likely a slip of the pen.
const (
	MinDuration = 2 * liveness.DefaultTick
	MaxDuration = 10 * 365 * 24 * time.Hour
)

// Text is a duration as one would write it: 1h, and not 1h0m0s.
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
