//go:build unix

package bench

import (
	"syscall"
	"time"
)

// CPUTimes is the processor time that this process has used, and that the
// kernel has used for it; 0 where the system does not tell.
func CPUTimes() (own, kernel time.Duration) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, 0
	}
	return time.Duration(u.Utime.Nano()), time.Duration(u.Stime.Nano())
}
