package settings

import (
	"testing"
	"time"
)

func TestText(t *testing.T) {
	for _, want := range []string{"0s", "20ms", "1.5s", "10s", "1m", "10m", "1m30s", "1h", "1h30m", "20h0m5s", "24h", "-1h"} {
		d, err := time.ParseDuration(want)
		if got := Text(d); err != nil || got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
	}
}
