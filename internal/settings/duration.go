package settings

import (
	"fmt"
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
