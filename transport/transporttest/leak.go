package transporttest

import (
	"fmt"
	"net"
	"os"
	"strings"
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
			return // a failed test may leave anything behind
		}
		// Nothing notifies of the end of a goroutine or of a closed descriptor, so this polls.
		var err error
		var open int
		for end := time.Now().Add(maxPrompt); time.Now().Before(end); time.Sleep(time.Millisecond) {
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

// countDescriptors returns 0 on systems without /proc.
func countDescriptors() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}

// checkKernel fails t if the kernel keeps a TCP connection with the listener that no
// process has any more: one that was reset is forgotten at once, while one that was
// closed is kept until the peer has taken all that was queued.
func (n *network) checkKernel(t *testing.T) {
	t.Helper()
	addr, ok := n.listener.Addr().(*net.TCPAddr)
	if !ok {
		return
	}
	var left []string
	for end := time.Now().Add(maxPrompt); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if left = orphans(addr.Port); len(left) == 0 {
			return
		}
	}
	t.Errorf("left in the kernel: %v", left)
}

// orphans returns the lines of /proc/net/tcp about connections from and to a port that
// belong to no process, other than those that only wait for stray packets.
func orphans(port int) (lines []string) {
	suffix := fmt.Sprintf(":%04X", port)
	for _, file := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		table, _ := os.ReadFile(file)
		for line := range strings.Lines(string(table)) {
			const local, remote, state, inode, timeWait = 1, 2, 3, 9, "06"
			f := strings.Fields(line)
			if len(f) > inode && f[inode] == "0" && f[state] != timeWait &&
				(strings.HasSuffix(f[local], suffix) || strings.HasSuffix(f[remote], suffix)) {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// startPoller makes the runtime open the descriptors of its network poller, so that they
// don't count as a leak of the first test.
func startPoller() {
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
	}
}
