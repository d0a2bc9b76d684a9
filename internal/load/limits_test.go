package load

import (
	"errors"
	"strings"
	"testing"
)

// roomy is a machine that a few thousand sessions fit.
var roomy = Limits{
	Descriptors: 20_000,
	Files:       900_000, FilesMost: 1_000_000,
	FirstPort: 32_768, LastPort: 60_999,
	Memory:  24 << 30,
	Backlog: 4096,
}

func TestLimits(t *testing.T) {
	tcp := Shape{Transport: "tcp", Codec: "frame", IO: Goroutine, Flag: FlagSessions}
	quic := Shape{Transport: "quic", Codec: "frame", Flag: FlagSessions}
	for _, test := range []struct {
		name   string
		change func(*Limits)
		shape  Shape
		want   string // empty: it fits
	}{
		{"Fits", func(*Limits) {}, tcp.of(100_000), ""},
		{"FitsAMillion", func(l *Limits) { l.Files, l.FilesMost = 3_000_000, 3_000_000 },
			Shape{Transport: "tcp", Codec: "raw", Flag: FlagSessions, Sessions: 1_000_000}, ""},
		{"NothingIsKnown", func(l *Limits) { *l = Limits{} }, quic.of(1_000_000), ""},
		{"Descriptors", func(*Limits) {},
			Shape{Transport: "tcp", Codec: "frame", Flag: FlagSessions, Sessions: 50_000, Servers: 2, Divisible: true},
			"--sessions 50000 does not fit: a process may have 20000 descriptors (RLIMIT_NOFILE), and a server would need 25064; " +
				"ulimit -n 25064, or more --servers, would raise that; the largest run that fits is --sessions 39872"},
		{"DescriptorsOfClients", func(*Limits) {},
			Shape{Transport: "quic", Codec: "frame", Flag: FlagSessions, Sessions: 25_000, Clients: 1, Divisible: true},
			"--sessions 25000 does not fit: a process may have 20000 descriptors (RLIMIT_NOFILE), and a client would need 25064; " +
				"ulimit -n 25064, or more --clients, would raise that; the largest run that fits is --sessions 19936"},
		{"DescriptorsOfChurn", func(*Limits) {},
			Shape{Transport: "tcp", Codec: "frame", Flag: FlagParallel, Sessions: 20_000, Servers: 1, Clients: 1},
			"--parallel 20000 does not fit: a process may have 20000 descriptors (RLIMIT_NOFILE), and a server would need 20064; " +
				"ulimit -n 20064 would raise that; the largest run that fits is --parallel 19936"},
		// Who can't have more servers is not told to.
		{"DescriptorsOfOneServer", func(*Limits) {},
			Shape{Transport: "tcp", Codec: "frame", Flag: FlagSessions, Sessions: 20_000, Servers: 1},
			"--sessions 20000 does not fit: a process may have 20000 descriptors (RLIMIT_NOFILE), and a server would need 20064; " +
				"ulimit -n 20064 would raise that; the largest run that fits is --sessions 19936"},
		{"Neighbours", func(l *Limits) { l.Descriptors = 2000 },
			Shape{Transport: "tcp", Codec: "frame", Flag: FlagSessions, Sessions: 6000, Neighbours: 1000, Servers: 1},
			"--sessions 5000 beside --neighbours 1000 does not fit: a process may have 2000 descriptors (RLIMIT_NOFILE), and a server would need 6064; " +
				"ulimit -n 6064 would raise that; the largest run that fits is --sessions 936 beside --neighbours 1000"},
		{"NeighboursAlone", func(l *Limits) { l.Descriptors = 1000 },
			Shape{Transport: "tcp", Codec: "frame", Flag: FlagSessions, Sessions: 1010, Neighbours: 1000, Servers: 1},
			"--sessions 10 beside --neighbours 1000 does not fit: a process may have 1000 descriptors (RLIMIT_NOFILE), and a server would need 1074; " +
				"ulimit -n 1074 would raise that; not one fits beside --neighbours 1000"},
		{"NotOneSession", func(l *Limits) { l.Descriptors = 60 }, tcp.of(10),
			"--sessions 10 does not fit: a process may have 60 descriptors (RLIMIT_NOFILE), and a server would need 74; " +
				"ulimit -n 74 would raise that; not one fits"},
		{"Workers", func(l *Limits) { l.Descriptors = 256 }, tcp.of(10_000),
			"--sessions 10000 does not fit: a process may have 256 descriptors (RLIMIT_NOFILE), which takes 106 worker processes, " +
				"and their coordinator would need 488 itself; a higher ulimit -n would raise that; the largest run that fits is --sessions 4608"},
		// To find that out takes a moment, and not a quarter of an hour.
		{"VeryMany", func(l *Limits) { *l = Limits{Descriptors: 1024} }, tcp.of(100_000_000),
			"--sessions 100000000 does not fit: a process may have 1024 descriptors (RLIMIT_NOFILE), which takes 208334 worker processes, " +
				"and their coordinator would need 833400 itself; a higher ulimit -n would raise that; the largest run that fits is --sessions 115200"},
		{"Files", func(*Limits) {}, tcp.of(500_000),
			"--sessions 500000 does not fit: the machine may have 1000000 files open (fs.file-max) and has 100000, and the run would need 1003328 more; " +
				"sysctl -w fs.file-max=1103328 would raise that; the largest run that fits is --sessions 448528"},
		{"Ports", func(*Limits) {}, quic.of(30_000),
			"--sessions 30000 does not fit: each quic session takes a port, and of those from 32768 to 60999 (net.ipv4.ip_local_port_range) 28215 can be had; " +
				"sysctl -w net.ipv4.ip_local_port_range='1024 65535' would raise that; the largest run that fits is --sessions 28215"},
		// They are a process's by themselves.
		{"NeighboursOverQUIC", func(l *Limits) { l.Descriptors = 500 },
			Shape{Transport: "quic", Codec: "frame", Flag: FlagSessions, Sessions: 1050, Neighbours: 1000, Servers: 1},
			"--sessions 50 beside --neighbours 1000 does not fit: a process may have 500 descriptors (RLIMIT_NOFILE), and a client would need 1064; " +
				"ulimit -n 1064 would raise that; not one fits beside --neighbours 1000"},
		{"Tracked", func(l *Limits) { l.Tracked, l.TrackedMost = 60_000, 65_536 }, tcp.of(100_000),
			"--sessions 100000 does not fit: the firewall tracks loopback connections, 65536 at most (net.netfilter.nf_conntrack_max), of which 60000 are left; " +
				"sysctl -w net.netfilter.nf_conntrack_max=105536 would raise that; the largest run that fits is --sessions 60000"},
		{"Memory", func(l *Limits) { l.Memory = 2 << 30 }, tcp.of(100_000),
			"--sessions 100000 does not fit: about 2.2 GiB of memory are needed, 19.0 KiB for each session, and 2.0 GiB are available (MemAvailable); " +
				"more memory, or ending what else uses it, would raise that; the largest run that fits is --sessions 87956"},
		{"MemoryOfHandlers", func(l *Limits) { l.Memory = 2 << 30 },
			Shape{Transport: "tcp", Codec: "frame", IO: Blocking, Flag: FlagSessions, Sessions: 100_000},
			"--sessions 100000 does not fit: about 2.2 GiB of memory are needed, 19.0 KiB for each session, and 2.0 GiB are available (MemAvailable); " +
				"more memory, or ending what else uses it, would raise that; the largest run that fits is --sessions 87956"},
		// Of several the tightest is named, and what is offered fits them all.
		{"Several", func(l *Limits) { l.Memory = 2 << 30; l.Tracked, l.TrackedMost = 50_000, 50_000 }, tcp.of(100_000),
			"--sessions 100000 does not fit: the firewall tracks loopback connections, 50000 at most (net.netfilter.nf_conntrack_max), of which 50000 are left; " +
				"sysctl -w net.netfilter.nf_conntrack_max=100000 would raise that; the largest run that fits is --sessions 50000"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := roomy
			test.change(&l)
			err := l.Check(test.shape)
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			limit, ok := errors.AsType[*LimitError](err)
			if !ok || err.Error() != test.want {
				t.Fatalf("\n got %v\nwant %s", err, test.want)
			}
			if strings.Contains(test.want, "\n") {
				t.Error("it takes more than a line")
			}
			if limit.Most > 0 {
				if err := l.Check(test.shape.of(limit.Most)); err != nil {
					t.Errorf("what is offered does not fit: %v", err)
				}
			}
			if err := l.Check(test.shape.of(limit.Most + 1)); err == nil {
				t.Errorf("%d would fit, and %d are offered", limit.Most+1, limit.Most)
			}
		})
	}
}

// This machine has limits, and they are found.
func TestCheckMemory(t *testing.T) {
	for _, test := range []struct {
		memory int64
		n      int
		want   string
	}{
		{0, 1 << 40, ""}, // not known
		{spareMemory + 1000*100, 1000, ""},
		{spareMemory + 1000*100 - 1, 1000, "--leases 1000 does not fit: about 256 MiB of memory are needed, 100 B for each, and 256 MiB are available (MemAvailable); " +
			"more memory, or ending what else uses it, would raise that; the largest run that fits is --leases 999"},
		{100, 1, "--leases 1 does not fit: about 256 MiB of memory are needed, 100 B for each, and 100 B are available (MemAvailable); " +
			"more memory, or ending what else uses it, would raise that; not one fits"},
	} {
		got := ""
		if err := (Limits{Memory: test.memory}).CheckMemory("leases", test.n, 100); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%d in %d: %q, want %q", test.n, test.memory, got, test.want)
		}
	}
}

func TestReadLimits(t *testing.T) {
	if err := supported(); err != nil {
		t.Skip(err)
	}
	l := ReadLimits()
	if l.Descriptors < 3 || l.Memory < 1<<20 || l.FirstPort < 1 || l.LastPort < l.FirstPort || l.FilesMost < l.Files || l.Files < 1 || l.Backlog < 1 {
		t.Errorf("got %+v", l)
	}
	if err := l.Check(Shape{Transport: "tcp", Codec: "frame", Sessions: 10}); err != nil {
		t.Error(err)
	}
}
