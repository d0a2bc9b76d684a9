package load

import (
	"fmt"
	"net/netip"
	"testing"
)

func TestPlan(t *testing.T) {
	for _, test := range []struct {
		name             string
		shape            Shape
		servers, clients int
	}{
		{"One", Shape{Transport: "tcp", Sessions: 1}, 1, 1},
		{"OneProcessEach", Shape{Transport: "tcp", Sessions: 19_936}, 1, 1},
		{"TwoProcessesEach", Shape{Transport: "tcp", Sessions: 19_937}, 2, 2},
		{"Million", Shape{Transport: "tcp", Sessions: 1_000_000}, 51, 51},
		{"Yamux", Shape{Transport: "yamux", Sessions: 100_000}, 6, 6},
		// A QUIC listener has one socket for all sessions.
		{"QUIC", Shape{Transport: "quic", Sessions: 25_000}, 1, 2},
		{"Given", Shape{Transport: "tcp", Sessions: 100, Servers: 3, Clients: 7}, 3, 7},
		{"MoreThanSessions", Shape{Transport: "tcp", Sessions: 2, Servers: 3, Clients: 5}, 3, 5},
		// Some servers get more than their share, and that fits, too.
		{"ReusePort", Shape{Transport: "tcp", Sessions: 1_000_000, ReusePort: true}, 53, 51},
		{"ReusePortOne", Shape{Transport: "tcp", Sessions: 19_936, ReusePort: true}, 1, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := roomy.Plan(test.shape)
			if len(p.Servers) != test.servers || len(p.Clients) != test.clients {
				t.Errorf("%d servers and %d clients, want %d and %d", len(p.Servers), len(p.Clients), test.servers, test.clients)
			}
			checkPlan(t, roomy, p)
		})
	}
}

// checkPlan finds sessions that are missing, and too many for a process or for
// an address.
func checkPlan(t *testing.T, l Limits, p *Plan) {
	t.Helper()
	toServer := make([]int, len(p.Servers))
	used := make(map[netip.Addr]int) // by which client
	all := 0
	for i, c := range p.Clients {
		for _, target := range c.Targets {
			toServer[target.Server] += target.Sessions
			if each := ceil(target.Sessions, c.Sources.Count); each > l.perSource() {
				t.Errorf("client %d opens %d sessions from one address to server %d", i, each, target.Server)
			}
		}
		n := c.sessions()
		all += n
		if n > l.sessionsOf(p.demand().client) {
			t.Errorf("client %d has %d sessions", i, n)
		}
		for s := range c.Sources.Count {
			addr := c.Sources.At(s)
			if other, taken := used[addr]; taken && other != i {
				t.Errorf("clients %d and %d share %v", other, i, addr)
			}
			used[addr] = i
			if !addr.IsLoopback() {
				t.Errorf("%v is no loopback address", addr)
			}
		}
	}
	if all != p.Sessions {
		t.Errorf("%d sessions, want %d", all, p.Sessions)
	}
	for i, n := range p.Servers {
		if !p.ReusePort && toServer[i] != n {
			t.Errorf("server %d gets %d sessions, and is to have %d", i, toServer[i], n)
		}
		if n > l.sessionsOf(p.demand().server) {
			t.Errorf("server %d has %d sessions", i, n)
		}
	}
}

func TestSources(t *testing.T) {
	for _, test := range []struct {
		first, i int
		want     string
	}{
		{0, 0, "127.1.0.1"}, {0, 2, "127.1.0.3"}, {0, 3, "127.1.0.1"}, {255, 0, "127.1.1.0"}, {65_535, 0, "127.2.0.0"},
	} {
		if got := (Sources{test.first, 3}).At(test.i); got.String() != test.want {
			t.Errorf("source %d from %d on is %v, want %s", test.i, test.first, got, test.want)
		}
	}
	for ports, want := range map[[2]int]int{{32_768, 60_999}: 9881, {1024, 65_535}: 22_579, {5000, 5001}: 1, {0, 0}: 9881} {
		if got := (Limits{FirstPort: ports[0], LastPort: ports[1]}).perSource(); got != want {
			t.Errorf("with ports %v: %d for each address, want %d", ports, got, want)
		}
	}
}

func ExampleLimits_Plan() {
	l := Limits{Descriptors: 1024}
	p := l.Plan(Shape{Transport: "tcp", Sessions: 2000})
	fmt.Println(p.Servers)
	for _, c := range p.Clients {
		fmt.Println(c.Sources.At(0), c.Targets)
	}
	// Output:
	// [666 667 667]
	// 127.1.0.1 [{0 666}]
	// 127.1.0.2 [{1 667}]
	// 127.1.0.3 [{2 667}]
}
