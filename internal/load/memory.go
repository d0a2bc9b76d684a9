package load

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"

	"github.com/livenet/livenet/internal/bench"
)

// usage is what a process uses.
type usage struct {
	CPU         int64 // nanoseconds since it began, the kernel's work for it included
	Kernel      int64 // that work
	RSS         int64 // bytes resident
	Heap        int64 // bytes of objects
	Stacks      int64 // bytes of goroutines' stacks
	Goroutines  int64
	Descriptors int64
}

// readUsage reads this process's. The memory is that of a process that has
// just been tidied if that is asked for: without garbage, and without what the
// runtime keeps for later.
func readUsage(tidied bool) usage {
	if tidied {
		tidy()
	}
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"},
	}
	metrics.Read(samples)
	own, kernel := bench.CPUTimes()
	return usage{
		CPU:        int64(own + kernel),
		Kernel:     int64(kernel),
		RSS:        resident(),
		Heap:       int64(samples[0].Value.Uint64()),
		Stacks:     int64(samples[1].Value.Uint64()),
		Goroutines: int64(runtime.NumGoroutine()),
	}
}

// tidy gives back to the system what is not in use. What lies in a sync.Pool
// survives the first collection.
func tidy() {
	runtime.GC()
	debug.FreeOSMemory()
}

// machine is what the whole machine uses, of which there is only one reading
// for both ends of all sessions, and for whatever else it does.
type machine struct {
	slab      int64 // bytes of the kernel's objects: sockets, files, inodes
	buffers   int64 // bytes that sockets are charged for what they hold
	available int64 // bytes that can be had without swapping
}
