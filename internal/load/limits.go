package load

import (
	"fmt"
	"math"
	"sort"
)

// Limits are what a machine admits. Zero means that it is not known, and not
// minded.
type Limits struct {
	Descriptors int   // that a process may have open (RLIMIT_NOFILE)
	Files       int   // that all processes together may still open
	FilesMost   int   // and those that they have (fs.file-max)
	FirstPort   int   // of those that a socket is given unless it asks for one
	LastPort    int   // (net.ipv4.ip_local_port_range)
	Tracked     int   // connections that a firewall may still track; 0: it tracks none
	TrackedMost int   // and those that it does (net.netfilter.nf_conntrack_max)
	Memory      int64 // bytes that can be had without swapping (MemAvailable)
	Backlog     int   // connections that may wait for a listener (net.core.somaxconn)
}

// ports is how many there are; 0: not known.
func (l Limits) ports() int {
	if l.LastPort == 0 {
		return 0
	}
	return l.LastPort - l.FirstPort + 1
}

const (
	// spareDescriptors are for what a process has open beside sessions: its
	// pipes, its pollers, the files that it reads its figures from.
	spareDescriptors = 64

	// workerDescriptors are the coordinator's for each worker: three pipes and
	// a handle on the process.
	workerDescriptors = 4

	// sparePorts are for whoever else has one: those who connect while others fail,
	// other programs.
	sparePorts = 16

	// spareMemory is not promised to anyone: what the kernel says is available
	// is an estimate, and a machine that has used it all is a slow one.
	spareMemory = 256 << 20

	// workerMemory is what a worker takes that holds no session.
	workerMemory = 16 << 20
)

// sessionsOf is how many sessions a process can hold that needs so many
// descriptors for each.
func (l Limits) sessionsOf(descriptors int) int {
	if descriptors == 0 || l.Descriptors == 0 {
		return math.MaxInt
	}
	return max(0, l.Descriptors-spareDescriptors) / descriptors
}

// A LimitError is a run that does not fit.
type LimitError struct {
	Asked      int    // sessions
	Flag       string // that asks for them
	Neighbours int    // sessions beside, which --neighbours asks for
	Limit      string // which limit, its value, and what the run needs
	Raise      string // what would raise it
	Most       int    // sessions that fit
}

func (e *LimitError) Error() string {
	beside := ""
	if e.Neighbours > 0 {
		beside = fmt.Sprintf(" beside --neighbours %d", e.Neighbours)
	}
	offer := fmt.Sprintf("the largest run that fits is --%s %d", e.Flag, e.Most)
	if e.Most == 0 {
		offer = "not one fits"
	}
	return fmt.Sprintf("--%s %d%s does not fit: %s; %s would raise that; %s", e.Flag, e.Asked, beside, e.Limit, e.Raise, offer+beside)
}

// admit is the machine's limits, if a run of that shape is possible here, and
// fits.
func admit(s Shape) (Limits, error) {
	if err := supported(); err != nil {
		return Limits{}, err
	}
	limits := ReadLimits()
	return limits, limits.Check(s)
}

// Check is nil if a run of that shape fits, and otherwise a [*LimitError] that
// names the tightest limit.
func (l Limits) Check(s Shape) error {
	if len(l.broken(s)) == 0 {
		return nil
	}
	most := func(fits func(Shape) bool) int {
		return sort.Search(s.asked(), func(i int) bool { return !fits(s.of(i + 1)) })
	}
	var worst *LimitError
	for _, kind := range limitKinds {
		if kind.fits(l, l.Plan(s)) {
			continue
		}
		limit, raise := kind.say(l, l.Plan(s))
		e := &LimitError{Asked: s.asked(), Flag: s.Flag, Neighbours: s.Neighbours, Limit: limit, Raise: raise}
		e.Most = most(func(s Shape) bool { return kind.fits(l, l.Plan(s)) })
		if worst == nil || e.Most < worst.Most {
			worst = e
		}
	}
	worst.Most = most(func(s Shape) bool { return len(l.broken(s)) == 0 })
	return worst
}

// CheckMemory is nil if n entries fit into what memory can be had, of so many bytes
// each, and otherwise a [*LimitError]. Flag is what asks for them.
func (l Limits) CheckMemory(flag string, n int, each int64) error {
	room := l.Memory - spareMemory
	if l.Memory == 0 || int64(n)*each <= room {
		return nil
	}
	return &LimitError{
		Asked: n, Flag: flag, Most: int(max(0, room/each)), Raise: raiseMemory,
		Limit: fmt.Sprintf("about %s of memory are needed, %s for each, and %s are available (MemAvailable)",
			size(int64(n)*each+spareMemory), size(each), size(l.Memory)),
	}
}

// broken are the limits that a run of that shape would break.
func (l Limits) broken(s Shape) []limitKind {
	var list []limitKind
	p := l.Plan(s)
	for _, kind := range limitKinds {
		if !kind.fits(l, p) {
			list = append(list, kind)
		}
	}
	return list
}

// A limitKind is one of the limits: whether a plan keeps to it, and what is to
// be said if it does not.
type limitKind struct {
	fits func(Limits, *Plan) bool
	say  func(Limits, *Plan) (limit, raise string)
}

var limitKinds = []limitKind{
	{fitDescriptors, sayDescriptors},
	{fitWorkers, sayWorkers},
	{fitFiles, sayFiles},
	{fitPorts, sayPorts},
	{fitTracked, sayTracked},
	{fitMemory, sayMemory},
}

// fitDescriptors is about each worker. Where their number is not given there
// are as many as it takes.
func fitDescriptors(l Limits, p *Plan) bool {
	d := p.demand()
	return p.mostServed() <= l.sessionsOf(d.server) && p.mostDialled() <= l.sessionsOf(d.client)
}

func sayDescriptors(l Limits, p *Plan) (limit, raise string) {
	d := p.demand()
	who, given, need := "server", p.Shape.Servers, d.server*p.mostServed()
	if n := d.client * p.mostDialled(); n > need {
		who, given, need = "client", p.Shape.Clients, n
	}
	need += spareDescriptors
	raise = fmt.Sprintf("ulimit -n %d", need)
	if p.Divisible && given > 0 {
		raise += fmt.Sprintf(", or more --%ss,", who)
	}
	return fmt.Sprintf("a process may have %d descriptors (RLIMIT_NOFILE), and a %s would need %d", l.Descriptors, who, need), raise
}

// fitWorkers is about the coordinator, which holds pipes to all of them.
func fitWorkers(l Limits, p *Plan) bool {
	return l.Descriptors == 0 || coordinatorDescriptors(p) <= l.Descriptors
}

func coordinatorDescriptors(p *Plan) int {
	return workerDescriptors*(len(p.Servers)+len(p.Clients)) + spareDescriptors
}

func sayWorkers(l Limits, p *Plan) (limit, raise string) {
	return fmt.Sprintf("a process may have %d descriptors (RLIMIT_NOFILE), which takes %d worker processes, and their coordinator would need %d itself",
			l.Descriptors, len(p.Servers)+len(p.Clients), coordinatorDescriptors(p)),
		"a higher ulimit -n"
}

func (p *Plan) files() int {
	d := p.demand()
	return (d.server+d.client)*p.Sessions + (len(p.Servers)+len(p.Clients))*spareDescriptors
}

func fitFiles(l Limits, p *Plan) bool { return l.FilesMost == 0 || p.files() <= l.Files }

func sayFiles(l Limits, p *Plan) (limit, raise string) {
	return fmt.Sprintf("the machine may have %d files open (fs.file-max) and has %d, and the run would need %d more",
			l.FilesMost, l.FilesMost-l.Files, p.files()),
		fmt.Sprintf("sysctl -w fs.file-max=%d", l.FilesMost-l.Files+p.files())
}

// fitPorts is about transports whose sessions have a port of this machine for
// themselves. The others share ports by being from different addresses.
func fitPorts(l Limits, p *Plan) bool {
	return l.ports() == 0 || !p.demand().ownPort || p.Sessions <= l.portsFor(p)
}

// portsFor is how many ports are left to the sessions.
func (l Limits) portsFor(p *Plan) int { return l.ports() - len(p.Servers) - sparePorts }

func sayPorts(l Limits, p *Plan) (limit, raise string) {
	return fmt.Sprintf("each %s session takes a port, and of those from %d to %d (net.ipv4.ip_local_port_range) %d can be had",
			p.Transport, l.FirstPort, l.LastPort, max(0, l.portsFor(p))),
		"sysctl -w net.ipv4.ip_local_port_range='1024 65535'"
}

func fitTracked(l Limits, p *Plan) bool { return l.TrackedMost == 0 || p.Sessions <= l.Tracked }

func sayTracked(l Limits, p *Plan) (limit, raise string) {
	return fmt.Sprintf("the firewall tracks loopback connections, %d at most (net.netfilter.nf_conntrack_max), of which %d are left",
			l.TrackedMost, l.Tracked),
		fmt.Sprintf("sysctl -w net.netfilter.nf_conntrack_max=%d", l.TrackedMost-l.Tracked+p.Sessions)
}

func (p *Plan) memory() int64 {
	return p.demand().memory*int64(p.Sessions) + workerMemory*int64(len(p.Servers)+len(p.Clients)) + spareMemory
}

func fitMemory(l Limits, p *Plan) bool { return l.Memory == 0 || p.memory() <= l.Memory }

func sayMemory(l Limits, p *Plan) (limit, raise string) {
	return fmt.Sprintf("about %s of memory are needed, %s for each session, and %s are available (MemAvailable)",
			size(p.memory()), size(p.demand().memory), size(l.Memory)),
		raiseMemory
}

const raiseMemory = "more memory, or ending what else uses it,"

// size is a number of bytes in the unit that suits it.
func size(n int64) string {
	f, units := float64(n), []string{"B", "KiB", "MiB", "GiB"}
	for len(units) > 1 && f >= 1024 {
		f, units = f/1024, units[1:]
	}
	if units[0] == "B" || f >= 100 {
		return fmt.Sprintf("%.0f %s", f, units[0])
	}
	return fmt.Sprintf("%.1f %s", f, units[0])
}
