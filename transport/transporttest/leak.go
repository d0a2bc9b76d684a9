package transporttest

import (
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// checkLeaks fails t if it ends with more goroutines or descriptors than it
// has now. Cleanups registered later run before the check.
func checkLeaks(t *testing.T) {
	t.Helper()
	goroutines, descriptors := goleak.IgnoreCurrent(), countDescriptors()
	t.Cleanup(func() {
		if t.Failed() {
			return // whatever a failed test left behind is no news
		}
		// Nothing tells of a goroutine that is gone or of a descriptor that the
		// kernel took back, so this has to ask again and again.
		var err error
		var open int
		for end := time.Now().Add(prompt); time.Now().Before(end); time.Sleep(time.Millisecond) {
			err, open = goleak.Find(goroutines), countDescriptors()
			if err == nil && open <= descriptors {
				return
			}
		}
		if err != nil {
			t.Errorf("goroutines left behind: %v", err)
		}
		if open > descriptors {
			t.Errorf("descriptors: %d before the test, %d after", descriptors, open)
		}
	})
}

// countDescriptors is 0 where there is no /proc.
func countDescriptors() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}

// startPoller makes the runtime open what it polls the network with, so that
// this is not taken for a leak of the first test.
func startPoller() {
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
	}
}
