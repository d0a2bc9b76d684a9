package load

import (
	"bufio"
	"os"
	"slices"
	"strings"
)

// resident is this process's resident memory, in bytes. The kernel's short
// answer, in /proc/self/statm, is off by what each processor has yet to add up.
func resident() int64 {
	if n, ok := value("/proc/self/smaps_rollup", "Rss:"); ok {
		return n
	}
	n, _ := value("/proc/self/status", "VmRSS:")
	return n
}

// openDescriptors counts this process's, but not the one that it takes to
// count.
func openDescriptors() int64 {
	d, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0
	}
	defer d.Close()
	n := int64(-1)
	for {
		names, err := d.Readdirnames(1024)
		n += int64(len(names))
		if err != nil || len(names) == 0 {
			return n
		}
	}
}

func readMachine() machine {
	var m machine
	m.slab, _ = value("/proc/meminfo", "Slab:")
	m.available, _ = value("/proc/meminfo", "MemAvailable:")
	page := int64(os.Getpagesize())
	for _, line := range lines("/proc/net/sockstat") {
		// TCP: inuse 1 orphan 0 tw 79 alloc 1 mem 341
		words := strings.Fields(line)
		if i := slices.Index(words, "mem"); i >= 0 && i+1 < len(words) {
			m.buffers += page * int64(number(words[i+1]))
		}
	}
	return m
}

// value is the number that stands beside a name, which the kernel gives in kB.
func value(file, name string) (bytes int64, ok bool) {
	for _, line := range lines(file) {
		words := strings.Fields(line)
		if len(words) >= 2 && words[0] == name {
			return int64(number(words[1])) << 10, true
		}
	}
	return 0, false
}

func lines(file string) []string {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	var list []string
	for s := bufio.NewScanner(f); s.Scan(); {
		list = append(list, s.Text())
	}
	return list
}
