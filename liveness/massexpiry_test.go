package liveness

import (
	"runtime"
	"testing"
	"time"
)

// While more leases are due than can be judged in a tick, epochs keep their length:
// renewals are dated as exactly as ever, and the engine does not take its own work for a
// stall.
func TestRule11EpochsKeepTheirLengthDuringAMassExpiry(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine) {
		n := int64(4000 * runtime.GOMAXPROCS(0)) // several batches in every shard
		for range n {
			e.Grant(slow{Fixed(sec), 50 * time.Microsecond}, func(*Error) {})
		}
		neighbour := e.Grant(Sliding(time.Hour), func(*Error) {})
		time.Sleep(sec)
		const silence = 100 * ms
		for e.Stats().Expired < n {
			time.Sleep(DefaultTick / 2)
			neighbour.Renew()
			time.Sleep(silence)
			if d := silence - neighbour.silence(); d > 3*DefaultTick {
				t.Errorf("%d of %d judged: a silence is given as %v too short", e.Stats().Expired, n, d)
			}
		}
		time.Sleep(2 * DefaultTick)
		if n := e.Stats().Stalls; n != 0 {
			t.Errorf("%d stalls", n)
		}
		neighbour.Release()
	})
}

// A slow policy takes its time to find a peer dead.
type slow struct {
	Policy
	takes time.Duration
}

func (s slow) Judge(e History) Verdict {
	v := s.Policy.Judge(e)
	if v.Dead {
		time.Sleep(s.takes)
	}
	return v
}
