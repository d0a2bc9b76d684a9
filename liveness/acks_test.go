package liveness

import (
	"testing"
	"time"
)

// Connections that began together are probed at different times, within a third and then
// a sixth of the timeout. If the kernel judges, it does so at the timeout.
func TestRule11KeepaliveProbesAreSpread(t *testing.T) {
	const timeout = 30 * time.Second
	idle, every := map[time.Duration]int{}, map[time.Duration]int{}
	for range 1000 {
		k := keepAlive(timeout, false)
		idle[k.Idle]++
		every[k.Interval]++
		if k.Idle > timeout/3 || k.Interval > timeout/6 || k.Idle+time.Duration(k.Count)*k.Interval < 2*timeout {
			t.Fatalf("%+v", k)
		}
	}
	if len(idle) < 3 || len(every) < 2 {
		t.Errorf("idle %v, every %v", idle, every)
	}
	if k := keepAlive(timeout, true); k.Idle+time.Duration(k.Count)*k.Interval != timeout {
		t.Errorf("where the kernel judges: %+v", k)
	}
}
