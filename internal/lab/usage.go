package main

import (
	"bufio"
	"errors"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A usage is what a process uses. Memory is in bytes.
type usage struct {
	CPU         time.Duration // since it began, Kernel included
	Kernel      time.Duration // the kernel's work for it
	Resident    int64
	Heap        int64 // objects
	Stacks      int64
	Goroutines  int64
	Descriptors int64
}

func (u *usage) add(v *usage) {
	u.CPU += v.CPU
	u.Kernel += v.Kernel
	u.Resident += v.Resident
	u.Heap += v.Heap
	u.Stacks += v.Stacks
	u.Goroutines += v.Goroutines
	u.Descriptors += v.Descriptors
}

// readUsage reads this process's.
func readUsage() *usage {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"},
	}
	metrics.Read(samples)
	u := &usage{
		Resident:    kilobytes("/proc/self/smaps_rollup", "Rss:"),
		Heap:        int64(samples[0].Value.Uint64()),
		Stacks:      int64(samples[1].Value.Uint64()),
		Goroutines:  int64(runtime.NumGoroutine()),
		Descriptors: openDescriptors(),
	}
	u.CPU, u.Kernel = processorTime()
	return u
}

// processorTime is what this process has used; kernel is a part of all.
func processorTime() (all, kernel time.Duration) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err) // it can't fail with these arguments
	}
	kernel = time.Duration(u.Stime.Nano())
	return time.Duration(u.Utime.Nano()) + kernel, kernel
}

func processCPU() time.Duration {
	all, _ := processorTime()
	return all
}

// tidy gives memory back to the system. Twice: finalizers and pools let go of
// their objects only in the second collection.
func tidy() {
	debug.FreeOSMemory()
	debug.FreeOSMemory()
}

// heap is the size of the live objects.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// heapInUse is the heap with its garbage. To ask stops nobody.
func heapInUse() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

// openDescriptors does not count the one that it takes to count.
func openDescriptors() int64 {
	d, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	return int64(len(names)) - 1
}

// A machineUsage is the whole machine's, in bytes: the kernel's share of sessions is
// in nobody else's.
type machineUsage struct {
	Slab      int64 // the kernel's objects: sockets, files, inodes
	Available int64 // what can be had without swapping
}

func readMachine() machineUsage {
	return machineUsage{kilobytes("/proc/meminfo", "Slab:"), kilobytes("/proc/meminfo", "MemAvailable:")}
}

// kilobytes is the figure beside a name in one of the kernel's files, in bytes.
func kilobytes(file, name string) int64 {
	f, err := os.Open(file)
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if words := strings.Fields(s.Text()); len(words) >= 2 && words[0] == name {
			n, _ := strconv.ParseInt(words[1], 10, 64)
			return n << 10
		}
	}
	return 0
}

func sortedCopy[T ~int | ~int64 | ~float64](of []T) []T { return slices.Sorted(slices.Values(of)) }

// A profiler writes the profiles of its process.
type profiler struct{ cpu *os.File }

func (p *profiler) obey(o order) (err error) {
	if o.Profile != "" {
		if p.cpu, err = os.Create(o.Profile); err != nil {
			return err
		}
		return pprof.StartCPUProfile(p.cpu)
	}
	if o.Heap == "" {
		return nil
	}
	if p.cpu != nil {
		pprof.StopCPUProfile()
		err = p.cpu.Close()
		p.cpu = nil
	}
	f, failed := os.Create(o.Heap)
	if failed != nil {
		return errors.Join(err, failed)
	}
	tidy() // what is in use, not what was
	return errors.Join(err, pprof.Lookup("heap").WriteTo(f, 0), f.Close())
}
