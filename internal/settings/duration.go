package settings

import (
	"fmt"
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

// Duration reads a duration and refuses what makes no sense. The error begins
// with the text, to be put after the name of whatever asked for it.
func Duration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q: want a duration, such as 500ms, 4s or 1h30m", text)
	}
	if d < MinDuration || d > MaxDuration {
		return 0, fmt.Errorf("%s: out of range: from %v to %dh (ten years)", text, MinDuration, MaxDuration/time.Hour)
	}
	return d, nil
}
