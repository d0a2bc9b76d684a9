package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// holdSettings are for idle sessions that only beat. Servers and clients are pairs of processes:
// as many as the limit on descriptors requires.
type holdSettings struct {
	Rival     string        `json:"rival,omitempty"` // instead of livenet
	Transport string        `json:"transport,omitempty"`
	Codec     string        `json:"codec,omitempty"`
	IO        string        `json:"io,omitempty"`
	Sessions  int           `json:"sessions"`
	Beat      time.Duration `json:"beat_ns"`
	Timeout   time.Duration `json:"timeout_ns"`
	For       time.Duration `json:"for_ns"`
	Settle    time.Duration `json:"settle_ns"` // before each measurement
	NoStream  bool          `json:"no_stream,omitempty"`
	Acks      bool          `json:"acks,omitempty"` // are what keeps sessions alive
	Echo      bool          `json:"echo,omitempty"`
	Buffer    int           `json:"-"` // of a handler
	Sockets   bool          `json:"-"` // raw clients, where the protocol allows for them
	Profile   string        `json:"-"` // folder for the first server's profiles
}

type holdRow struct {
	Sessions   int           `json:"sessions"`
	ConnectsPS rate          `json:"connects_per_second,omitzero"`
	Held       time.Duration `json:"held_ns"`
	BeatsPS    rate          `json:"beats_per_second,omitzero"`
	Latest     time.Duration `json:"latest_beat_ns"`
	FalseKills int           `json:"false_kills"`
	Lost       int           `json:"lost"`
	Answered   ratio         `json:"answered,omitzero"` // of the beats that were due
}

// A memoryRow is what a session takes, in bytes, when all have been opened and
// when they have been held.
type memoryRow struct {
	What   string    `json:"what"`
	Opened byteCount `json:"opened_bytes"`
	Held   byteCount `json:"held_bytes"`
}

type cpuRow struct {
	What      string        `json:"what"`
	Processes int           `json:"processes"`
	Core      percent       `json:"of_a_core_percent"`
	Kernel    percent       `json:"kernel_percent"`
	PerBeat   time.Duration `json:"per_beat_ns"`
}

// A holdResult is what peers take of a report.
type holdResult struct {
	opened, held usage   // per session
	goroutines   float64 // likewise
	core         float64 // the servers' share of a core
}

// firstSessions are opened before measuring begins, so that code and pools that a process needs
// once don't count.
func firstSessions(n int) int { return max(1, min(n/10, 200)) }

// hold fails if a session ended.
func (l *lab) hold(ctx context.Context, s holdSettings) (*report, error) {
	r, _, err := l.holdSessions(ctx, s)
	return r, err
}

func (l *lab) holdSessions(ctx context.Context, s holdSettings) (*report, *holdResult, error) {
	c := newCrew(ctx, l.stderr)
	defer c.end()
	each := max(1, descriptors()-spareDescriptors)
	n := (s.Sessions + each - 1) / each
	l.step(0, "starting %d servers and %d clients", n, n)
	pairs, err := c.startPairs(n, s)
	if err != nil {
		return nil, nil, err
	}
	servers, clients := split(pairs)
	first := 0
	for _, p := range pairs {
		first += firstSessions(p.sessions)
	}
	// Opening, and all else, have half of the bar each.
	told := func(opened int) {
		l.step(0.5*float64(opened)/float64(s.Sessions), "%d of %d sessions", opened, s.Sessions)
	}
	if err := openAll(pairs, func(p pair) int { return firstSessions(p.sessions) }, told); err != nil {
		return nil, nil, err
	}
	base, err := sampleIdle(ctx, s.Settle, pairs)
	if err != nil {
		return nil, nil, err
	}
	began := time.Now()
	err = openAll(pairs, func(p pair) int { return p.sessions - firstSessions(p.sessions) }, func(n int) { told(first + n) })
	connecting := time.Since(began)
	if err != nil {
		return nil, nil, err
	}
	opened, err := sampleIdle(ctx, s.Settle, pairs)
	if err != nil {
		return nil, nil, err
	}
	if s.Profile != "" {
		if err := startProfile(servers[0], s.Profile); err != nil {
			return nil, nil, err
		}
	}
	if err := askAll(clients, order{Restart: true}); err != nil {
		return nil, nil, err
	}
	from, err := takeSample(pairs, order{Usage: true})
	if err != nil {
		return nil, nil, err
	}
	began = time.Now()
	for time.Since(began) < s.For {
		l.step(0.5+0.5*float64(time.Since(began))/float64(s.For), "holding %d", s.Sessions)
		if err := pause(ctx, min(time.Second, s.For-time.Since(began)+1)); err != nil {
			return nil, nil, err
		}
	}
	to, err := takeSample(pairs, order{Usage: true})
	if err != nil {
		return nil, nil, err
	}
	took := time.Since(began)
	if s.Profile != "" {
		if _, err := servers[0].ask(order{Heap: filepath.Join(s.Profile, "heap.pprof")}); err != nil {
			return nil, nil, err
		}
	}
	held, err := takeSample(pairs, order{Usage: true, Tidy: true})
	if err != nil {
		return nil, nil, err
	}

	count := float64(s.Sessions - first)
	beats := to.client.Beats - from.client.Beats
	row := holdRow{
		Sessions: to.client.Connected, ConnectsPS: rate(count / connecting.Seconds()), Held: took,
		BeatsPS: rate(float64(beats) / took.Seconds()), Latest: to.client.Late,
		FalseKills: to.client.FalseKills, Lost: to.client.Lost,
	}
	if s.Echo && s.Sockets {
		row.Answered = ratio(float64(to.client.Answered-from.client.Answered) / (float64(s.Sessions) * took.Seconds() / s.Beat.Seconds()))
	}
	r := newReport("hold", s,
		table{"Sessions", "", []holdRow{row}},
		table{"Memory per session", "Server and client: resident in their processes; runtime is what is neither heap nor stacks. " +
			"Kernel and machine are both ends', and whatever else the machine did.", memoryRows(base, opened, held, count)},
		table{"Processors, while holding", "", cpuRows(pairs, from, to, beats, took)},
	)
	res := &holdResult{
		opened: perSession(base.servers, opened.servers, count), held: perSession(base.servers, held.servers, count),
		goroutines: float64(held.servers.Goroutines-base.servers.Goroutines) / count,
		core:       (to.servers.CPU - from.servers.CPU).Seconds() / took.Seconds(),
	}
	return r, res, held.judge(s.Sessions)
}

func startProfile(w *worker, folder string) error {
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	_, err := w.ask(order{Profile: filepath.Join(folder, "cpu.pprof")})
	return err
}

// startPairs starts n servers, and a client of each.
func (c *crew) startPairs(n int, s holdSettings) ([]pair, error) {
	var pairs []pair
	for i := range n {
		p := pair{sessions: s.Sessions*(i+1)/n - s.Sessions*i/n}
		var err error
		p.server, err = c.start(fmt.Sprintf("server %d", i+1), order{Serve: &serveTask{
			Rival: s.Rival, Beat: s.Beat, Transport: s.Transport, Codec: s.Codec, IO: s.IO, Buffer: s.Buffer, Timeout: s.Timeout, Echo: s.Echo, Acks: s.Acks,
		}})
		if err != nil {
			return nil, err
		}
		p.client, err = c.start(fmt.Sprintf("client %d", i+1), order{Dial: &dialTask{
			Rival: s.Rival, Addr: p.server.addr, Transport: s.Transport, Codec: s.Codec, Sessions: p.sessions, NoStream: s.NoStream,
			Sockets: s.Sockets, Beat: s.Beat, Timeout: s.Timeout,
		}})
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, p)
	}
	return pairs, nil
}

func split(pairs []pair) (servers, clients []*worker) {
	for _, p := range pairs {
		servers, clients = append(servers, p.server), append(clients, p.client)
	}
	return servers, clients
}

// A sample is what all processes, and the machine, used at a moment, and what the
// clients and servers had counted.
type sample struct {
	servers, clients usage
	machine          machineUsage
	client           clientState
	live             int
	closed           tally
}

func sampleIdle(ctx context.Context, wait time.Duration, pairs []pair) (*sample, error) {
	if err := settle(ctx, pairs); err != nil {
		return nil, err
	}
	if err := pause(ctx, wait); err != nil {
		return nil, err
	}
	return takeSample(pairs, order{Usage: true, Tidy: true})
}

func takeSample(pairs []pair, o order) (*sample, error) {
	servers, clients := split(pairs)
	if err := askAll(append(servers, clients...), o); err != nil {
		return nil, err
	}
	s := &sample{machine: readMachine(), closed: make(tally)}
	for _, p := range pairs {
		s.servers.add(p.server.last.Usage)
		s.clients.add(p.client.last.Usage)
		s.client.add(p.client.last.Client)
		s.live += p.server.last.Server.Live
		s.closed.add(p.server.last.Server.Closed)
	}
	return s, nil
}

// judge returns an error if a session ended.
func (s *sample) judge(sessions int) error {
	switch {
	case s.client.FalseKills > 0:
		return fmt.Errorf("%d of %d sessions were ended for silence although they beat in time", s.client.FalseKills, sessions)
	case s.client.Lost > 0:
		return fmt.Errorf("%d of %d sessions were lost", s.client.Lost, sessions)
	case s.closed.sum() > 0: // whatever the clients have heard of it
		return fmt.Errorf("the servers ended %d of %d sessions: %s", s.closed.sum(), sessions, s.closed.most())
	case s.live != sessions:
		return fmt.Errorf("the servers hold %d sessions, not %d", s.live, sessions)
	}
	return nil
}

func perSession(from, to usage, n float64) usage {
	per := func(from, to int64) int64 { return int64(float64(to-from) / n) }
	return usage{Resident: per(from.Resident, to.Resident), Heap: per(from.Heap, to.Heap), Stacks: per(from.Stacks, to.Stacks)}
}

func memoryRows(base, opened, held *sample, n float64) []memoryRow {
	var rows []memoryRow
	for _, part := range []struct {
		what string
		of   func(*sample) int64
	}{
		{"server", func(s *sample) int64 { return s.servers.Resident }},
		{"server heap", func(s *sample) int64 { return s.servers.Heap }},
		{"server stacks", func(s *sample) int64 { return s.servers.Stacks }},
		{"server runtime", func(s *sample) int64 { return s.servers.Resident - s.servers.Heap - s.servers.Stacks }},
		{"client", func(s *sample) int64 { return s.clients.Resident }},
		{"kernel slab", func(s *sample) int64 { return s.machine.Slab }},
		{"machine", func(s *sample) int64 { return -s.machine.Available }},
	} {
		rows = append(rows, memoryRow{part.what, byteCount(float64(part.of(opened)-part.of(base)) / n), byteCount(float64(part.of(held)-part.of(base)) / n)})
	}
	return rows
}

func cpuRows(pairs []pair, from, to *sample, beats int64, took time.Duration) []cpuRow {
	row := func(what string, from, to usage) cpuRow {
		cpu := to.CPU - from.CPU
		r := cpuRow{What: what, Processes: len(pairs), Core: percent(100 * cpu.Seconds() / took.Seconds()),
			Kernel: percent(100 * (to.Kernel - from.Kernel).Seconds() / took.Seconds())}
		if beats > 0 {
			r.PerBeat = cpu / time.Duration(beats)
		}
		return r
	}
	return []cpuRow{row("servers", from.servers, to.servers), row("clients", from.clients, to.clients)}
}
