package load

import (
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// ReadLimits reads this machine's limits. The soft limit on descriptors is
// raised to the hard one, for this process and those that it starts.
func ReadLimits() Limits {
	var l Limits
	l.Descriptors = descriptors()
	if f := fields("/proc/sys/fs/file-nr"); len(f) == 3 {
		l.FilesMost = number(f[2])
		l.Files = max(0, l.FilesMost-number(f[0]))
	}
	if f := fields("/proc/sys/net/ipv4/ip_local_port_range"); len(f) == 2 {
		l.FirstPort, l.LastPort = number(f[0]), number(f[1])
	}
	l.TrackedMost, l.Tracked = tracked()
	l.Memory = readMachine().available
	if f := fields("/proc/sys/net/core/somaxconn"); len(f) == 1 {
		l.Backlog = number(f[0])
	}
	return l
}

func descriptors() int {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil {
		return 0
	}
	// Package os raises the soft limit, too, but gives it back to processes
	// that it starts, unless it was set by hand.
	if r.Cur = r.Max; syscall.Setrlimit(syscall.RLIMIT_NOFILE, &r) != nil {
		syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r)
	}
	return int(min(r.Cur, math.MaxInt32))
}

// tracked is whether a firewall tracks connections of the loopback interface,
// and how many. It may be there and not track them, which shows in that it
// knows of none while there is one.
func tracked() (most, left int) {
	const dir = "/proc/sys/net/netfilter/nf_conntrack_"
	f := fields(dir + "max")
	if len(f) != 1 {
		return 0, 0
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, 0
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return 0, 0
	}
	defer c.Close()
	count := fields(dir + "count")
	if len(count) != 1 || number(count[0]) == 0 {
		return 0, 0
	}
	most = number(f[0])
	return most, max(0, most-number(count[0]))
}

// fields are the words of a file that the kernel makes.
func fields(name string) []string {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	return strings.Fields(string(text))
}

// number is one of those words. The kernel says "unlimited" with numbers that
// are beyond all use.
func number(word string) int {
	n, err := strconv.ParseUint(word, 10, 64)
	if err != nil {
		return 0
	}
	return int(min(n, math.MaxInt32))
}
