package liveness

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	b := backoff{min: time.Second, max: 5 * time.Second}
	for i, step := range []struct{ lasted, want time.Duration }{
		{0, time.Second},
		{0, 2 * time.Second},
		{0, 4 * time.Second},
		{0, 5 * time.Second},
		{5 * time.Second, 5 * time.Second}, // it has not lasted
		{5*time.Second + 1, time.Second},   // it has
		{500 * time.Millisecond, 2 * time.Second},
	} {
		if got := b.next(step.lasted, 1); got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
	if got := b.next(0, 0); got != 0 {
		t.Errorf("with the best of luck: %v", got)
	}
}
