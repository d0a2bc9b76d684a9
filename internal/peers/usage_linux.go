package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// processorTime is what this process has used, in user and kernel mode.
func processorTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err) // it can't fail with these arguments
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A footprint is the memory of this process once it has given back to the
// system what it does not need.
type footprint struct {
	Resident   int64 // of the whole process, as the system counts it
	Heap       int64 // live objects
	Stacks     int64 // of goroutines
	Goroutines int64
}

func takeFootprint() (footprint, error) {
	// Twice: finalizers and pools let go of their objects only in the second
	// cycle.
	debug.FreeOSMemory()
	debug.FreeOSMemory()
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"},
		{Name: "/sched/goroutines:goroutines"},
	}
	metrics.Read(samples)
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return footprint{}, err
	}
	kib, err := statusField(string(status), "VmRSS")
	return footprint{
		Resident:   kib << 10,
		Heap:       int64(samples[0].Value.Uint64()),
		Stacks:     int64(samples[1].Value.Uint64()),
		Goroutines: int64(samples[2].Value.Uint64()),
	}, err
}

// statusField reads a line such as "VmRSS:	  1234 kB".
func statusField(status, name string) (int64, error) {
	for line := range strings.Lines(status) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			var n int64
			_, err := fmt.Sscan(value, &n)
			return n, err
		}
	}
	return 0, fmt.Errorf("/proc/self/status: no line %s", name)
}
