package load

import (
	"math"
	"net/netip"
	"slices"
)

// A Shape is what a run asks for, from which a [Plan] is made.
type Shape struct {
	Transport  string
	Codec      string
	IO         string // Goroutine, Blocking or Parked
	Sessions   int
	Neighbours int    // of Sessions: those that Flag does not ask for, but --neighbours
	Servers    int    // processes; 0: as many as it takes
	Clients    int    // likewise
	Divisible  bool   // the command has --servers and --clients
	ReusePort  bool   // the servers share one port
	Judging    bool   // clients are programs as a user's would be, also over TCP
	Flag       string // what the command calls the other sessions: FlagSessions or FlagParallel
}

// What waits for what a session sends next.
const (
	Goroutine = "goroutine" // one for each connection of package net; yamux needs none
	Blocking  = "blocking"  // a Handler of each, in Read, on connections that could park where there are any
	Parked    = "parked"    // nothing: over tcp the kernel tells when there is something
)

// What the commands call the number of sessions.
const (
	FlagSessions = "sessions"
	FlagParallel = "parallel"
)

// asked is how many sessions Flag asks for.
func (s Shape) asked() int { return s.Sessions - s.Neighbours }

// of is the same shape where Flag asks for another number of sessions.
func (s Shape) of(sessions int) Shape {
	s.Sessions = sessions + s.Neighbours
	return s
}

// A Plan says which process holds how many sessions.
type Plan struct {
	Shape
	Servers []int     // sessions of each server; under ReusePort on average
	Clients []Dialler // of each client
}

// A Dialler is a client's part of a plan.
type Dialler struct {
	Sources Sources
	Targets []Target // in the order to be dialled
}

// A Target is a server, by its number, and how many sessions to open to it.
type Target struct{ Server, Sessions int }

// sessions is how many the client opens.
func (d *Dialler) sessions() int {
	n := 0
	for _, t := range d.Targets {
		n += t.Sessions
	}
	return n
}

// Plan plans a run of that shape. Neighbours have a client of their own, which
// is the last.
func (l Limits) Plan(s Shape) *Plan {
	if s.Neighbours == 0 {
		return l.plan(s)
	}
	others := s
	others.Sessions, others.Neighbours = s.asked(), 0
	p := l.plan(others)
	p.Shape = s
	p.Servers[0] += s.Neighbours
	p.Clients = append(p.Clients, Dialler{
		Sources: Sources{p.sources(), max(1, ceil(s.Neighbours, l.perSource()))},
		Targets: []Target{{0, s.Neighbours}},
	})
	return p
}

func (l Limits) plan(s Shape) *Plan {
	d := s.demand()
	servers := s.Servers
	if servers == 0 {
		servers = enough(s.Sessions, l.sessionsOf(d.server), s.ReusePort)
	}
	clients := s.Clients
	if clients == 0 {
		clients = enough(s.Sessions, l.sessionsOf(d.client), false)
	}
	p := &Plan{Shape: s, Servers: make([]int, servers), Clients: make([]Dialler, clients)}
	for i := range p.Servers {
		from, to := part(s.Sessions, i, servers)
		p.Servers[i] = to - from
	}
	source := 0
	for i := range p.Clients {
		c := &p.Clients[i]
		from, to := part(s.Sessions, i, clients)
		c.Targets = p.targets(from, to)
		c.Sources = Sources{source, max(1, ceil(to-from, l.perSource()))}
		source += c.Sources.Count
	}
	return p
}

// targets are the servers of the sessions from..to: both processes and sessions
// are numbered, and each server has a run of sessions.
func (p *Plan) targets(from, to int) []Target {
	if p.ReusePort {
		return []Target{{0, to - from}}
	}
	var list []Target
	k := len(p.Servers)
	for i := from * k / max(p.Sessions, 1); i < k; i++ { // the one that has from, or the one before
		first, last := part(p.Sessions, i, k)
		if first >= to {
			break
		}
		if n := min(to, last) - max(from, first); n > 0 {
			list = append(list, Target{i, n})
		}
	}
	return list
}

// targetsOfAll are the targets of each client.
func (p *Plan) targetsOfAll() [][]Target {
	var list [][]Target
	for _, d := range p.Clients {
		list = append(list, d.Targets)
	}
	return list
}

// sources is how many sources the clients have.
func (p *Plan) sources() int {
	n := 0
	for _, d := range p.Clients {
		n = max(n, d.Sources.First+d.Sources.Count)
	}
	return n
}

// part is the i-th of k nearly equal parts of n things: from..to.
func part(n, i, k int) (from, to int) { return n * i / k, n * (i + 1) / k }

// enough is how many processes it takes. Where connections are spread by a
// hash, some processes get more than their share: six standard deviations more
// are allowed for.
func enough(sessions, each int, spread bool) int {
	k := 1
	if each > 0 {
		k = max(1, ceil(sessions, each))
	}
	for spread && k > 1 && k < sessions && hashed(sessions, k) > each {
		k++
	}
	return k
}

// hashed is how many of n things the fullest of k bins gets, nearly always.
func hashed(n, k int) int {
	mean := float64(n) / float64(k)
	return int(math.Ceil(mean + 6*math.Sqrt(mean)))
}

func ceil(n, by int) int { return int(math.Ceil(float64(n) / float64(by))) }

// mostServed and mostDialled are the most sessions of any server and client.

func (p *Plan) mostServed() int {
	if n := len(p.Servers); p.ReusePort && n > 1 {
		return min(p.Sessions, hashed(p.Sessions, n))
	}
	return slices.Max(p.Servers)
}

func (p *Plan) mostDialled() int {
	most := 0
	for _, d := range p.Clients {
		most = max(most, d.sessions())
	}
	return most
}

// A demand is what a session takes.
type demand struct {
	server, client int   // descriptors
	ownPort        bool  // the client's end has a port for itself
	memory         int64 // bytes, of both processes and the kernel
}

// demands are what sessions take on each transport. The memory is that of both
// ends, as measured, and somewhat more: the heap grows while they are opened.
var demands = map[string]demand{
	"tcp":   {server: 1, client: 1, memory: 12 << 10}, // parked, and raw; see below
	"yamux": {server: 1, client: 1, memory: 96 << 10},
	"quic":  {server: 0, client: 1, ownPort: true, memory: 224 << 10},
}

// What a session over TCP takes beside.
const (
	codedMemory     = 2 << 10 // for a codec with answers, also while they are under way
	goroutineMemory = 5 << 10 // for a goroutine and its buffer
	judgingMemory   = 8 << 10 // for a client with both, a connection and a lease
)

func (s Shape) demand() demand {
	d := demands[s.Transport]
	if s.Transport == "tcp" && s.Codec != "raw" {
		d.memory += codedMemory
	}
	if s.Transport == "tcp" && (s.IO == Goroutine || s.IO == Blocking) {
		d.memory += goroutineMemory
	}
	if s.Transport == "tcp" && s.Judging {
		d.memory += judgingMemory
	}
	return d
}

// perSource is how many connections may come from one address: the kernel tries
// half of its ports first, and when those run out it takes many times as long to
// find another for each.
func (l Limits) perSource() int {
	const share = 0.7 // of that half
	n := l.ports()
	if n == 0 {
		n = 28232 // Linux's, unless it was told otherwise
	}
	return max(1, int(share*float64(n)/2))
}

// Sources are addresses of 127.0.0.0/8 that connections come from: Count of
// them from the First on.
type Sources struct{ First, Count int }

// At is the i-th source, and the first one again after the last.
func (s Sources) At(i int) netip.Addr {
	// 127.0.x.y is left to those who have an address there for a purpose.
	const first = 127<<24 | 1<<16 | 1
	n := uint32(first + s.First + i%s.Count)
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}
