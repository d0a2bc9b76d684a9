package bench

import (
	"syscall"
	"time"
)

// CPUTimes is the processor time that this process has used, and that the
// kernel has used for it; 0 where the system does not tell.
func CPUTimes() (own, kernel time.Duration) {
	var created, exited, k, u syscall.Filetime
	self, err := syscall.GetCurrentProcess()
	if err != nil || syscall.GetProcessTimes(self, &created, &exited, &k, &u) != nil {
		return 0, 0
	}
	return filetime(u), filetime(k)
}

// filetime is a duration, which Windows counts in hundreds of nanoseconds.
func filetime(t syscall.Filetime) time.Duration {
	return time.Duration(int64(t.HighDateTime)<<32|int64(t.LowDateTime)) * 100
}
