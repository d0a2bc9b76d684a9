package load

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/livenet/livenet/internal/bench"
)

// A Hold opens sessions and holds them, each beating once in an interval.
type Hold struct {
	Transport string
	Codec     string // frame, or raw where the clients are sockets: tcp
	Sessions  int
	Beat      time.Duration
	Timeout   time.Duration // the servers' policy: sliding
	For       time.Duration
	Servers   int  // processes; 0: as many as it takes
	Clients   int  // likewise
	ReusePort bool // the servers share one port
	Profiles  Profiles

	// IO is what waits for what a session sends next: [Goroutine], [Blocking], or [Parked] if
	// the transport parks.
	IO string

	// Command is a process, still to be started, whose main is [Work].
	Command func() *exec.Cmd
}

// Shape is what the run asks the machine for.
func (h *Hold) Shape() Shape {
	return Shape{
		Transport: h.Transport, Codec: h.Codec, IO: h.IO, Sessions: h.Sessions, Servers: h.Servers, Clients: h.Clients,
		Divisible: true, ReusePort: h.ReusePort, Flag: FlagSessions,
	}
}

// Run holds the sessions. It fails with a [*LimitError], and has done nothing,
// if they don't fit this machine.
func (h *Hold) Run(ctx context.Context, p bench.Progress) (*bench.Report, error) {
	limits, err := admit(h.Shape())
	if err != nil {
		return nil, err
	}
	if err := h.Profiles.create(); err != nil {
		return nil, err
	}
	r := &holdRun{Hold: h, crew: newCrew(limits, h.Shape(), h.Command), progress: p}
	err = r.run(ctx)
	if err == nil {
		err = r.judge()
	}
	r.step(stageClosing, 0, "closing")
	r.fleet.end()
	return r.report(), err
}

// A holdRun is a Hold under way.
type holdRun struct {
	*Hold
	*crew
	progress bench.Progress

	before, after sample // around connecting
	connecting    time.Duration
	measured      int // sessions that after is a sample of
	first, last   sample
	holding       time.Duration // between these two
	latest        time.Duration // of beats, meanwhile
}

// A sample is what all processes, and the machine, used at a moment.
type sample struct {
	servers, clients usage
	machine          machine
	beats            int64
}

// Stages, of which the progress knows how long each takes, in seconds.
const (
	stageConnecting = iota
	stageSettling
	stageHolding
	stageClosing
	stages
)

// rates are how many sessions a second can be opened, roughly.
var rates = map[string]float64{"tcp": 15_000, "yamux": 3000, "quic": 400}

func (r *holdRun) step(stage int, share float64, format string, args ...any) {
	n := float64(r.Sessions)
	lasts := [stages]float64{n / rates[r.Transport], 1 + n/50_000, r.For.Seconds(), n / 50_000}
	done, total := 0.0, 0.0
	for i, d := range lasts {
		if total += d; i < stage {
			done += d
		}
	}
	r.progress.Step(fmt.Sprintf(format, args...), done+min(1, share)*lasts[stage], total)
}

func (r *holdRun) run(ctx context.Context) error {
	r.step(stageConnecting, 0, "starting %d server and %d client processes", len(r.plan.Servers), len(r.plan.Clients))
	if err := r.begin(ctx); err != nil {
		return err
	}
	err := r.open(ctx)
	if err == nil {
		err = r.settle(ctx, func(elapsed time.Duration) { r.step(stageSettling, min(1, elapsed.Seconds()), "settling") })
	}
	// Who interrupts wants to know what there is by now.
	if err == nil || ctx.Err() != nil || errors.Is(err, errStalled) {
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), measureTime)
		defer cancel()
		if failed := r.measure(within); failed != nil {
			return errors.Join(err, failed)
		}
	}
	if err != nil {
		return err
	}
	return r.hold(ctx)
}

// measureTime is how long a measurement of idle sessions may take.
const measureTime = 60 * time.Second

// begin starts the processes, and takes the sample of them without sessions.
func (r *holdRun) begin(ctx context.Context) error {
	err := r.start(ctx, serveOrder{Timeout: r.Timeout}, holdOrder{Beat: r.Beat, Timeout: r.Timeout})
	if err == nil {
		err = r.fleet.ask(ctx, r.fleet.workers, reportOrder{Tidied: true})
	}
	r.before = r.sample()
	return err
}

// open has all sessions opened.
func (r *holdRun) open(ctx context.Context) error {
	began := time.Now()
	defer func() { r.connecting = time.Since(began) }()
	return r.connect(ctx, r.plan.targetsOfAll(), func(opened, all int) {
		r.step(stageConnecting, float64(opened)/float64(all), "connecting %d/%d", opened, all)
	})
}

// sample adds up what was reported last.
func (r *holdRun) sample() sample {
	s := sample{machine: readMachine()}
	for _, h := range r.servers {
		s.servers.add(h.usage)
	}
	for _, h := range r.clients {
		s.clients.add(h.usage)
		s.beats += h.client.Beats
	}
	return s
}

// measure takes the sample of idle sessions.
func (r *holdRun) measure(ctx context.Context) error {
	r.step(stageSettling, 1, "measuring")
	if err := r.fleet.ask(ctx, r.fleet.workers, reportOrder{Tidied: true}); err != nil {
		return err
	}
	r.after, r.measured = r.sample(), r.count().live
	return nil
}

// hold lets the sessions beat for as long as was asked.
func (r *holdRun) hold(ctx context.Context) error {
	if cpu := r.Profiles.CPU; cpu != "" {
		r.servers[0].send(order{Profile: &profileOrder{CPU: cpu}})
	}
	if err := r.fleet.ask(ctx, r.fleet.workers, reportOrder{Restart: true}); err != nil {
		return err
	}
	r.first = r.sample()
	began := time.Now()
	every := max(time.Second, 20*time.Millisecond*time.Duration(len(r.fleet.workers)))
	var err error
	for err == nil {
		elapsed := time.Since(began)
		t := r.count()
		what := fmt.Sprintf("holding %d", t.live)
		if t.lost > 0 {
			what += fmt.Sprintf(", %d lost", t.lost)
		}
		r.step(stageHolding, elapsed.Seconds()/r.For.Seconds(), "%s", what)
		if elapsed >= r.For {
			break
		}
		err = pause(ctx, min(every, r.For-elapsed))
		if err == nil {
			err = r.fleet.ask(ctx, r.fleet.workers, reportOrder{})
		}
	}
	if err != nil && ctx.Err() == nil {
		return err
	}
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), measureTime)
	defer cancel()
	if failed := r.fleet.ask(within, r.fleet.workers, reportOrder{}); failed != nil {
		return errors.Join(err, failed)
	}
	r.holding = time.Since(began)
	r.last = r.sample()
	r.count()
	for _, h := range r.clients {
		r.latest = max(r.latest, h.client.Late)
	}
	return errors.Join(err, r.endProfiles(within))
}

// endProfiles has them written.
func (r *holdRun) endProfiles(ctx context.Context) error {
	if len(r.Profiles.names()) == 0 {
		return nil
	}
	r.servers[0].send(order{Profile: &profileOrder{Heap: r.Profiles.Heap}})
	return r.fleet.ask(ctx, r.servers[:1], reportOrder{})
}

// judge finds what should not have happened.
func (r *holdRun) judge() error {
	switch t := r.tally; {
	case t.kills > 0:
		return fmt.Errorf("%d of %d sessions were ended for silence although they beat in time", t.kills, t.connected)
	case t.lost > 0:
		return fmt.Errorf("%d of %d sessions were lost", t.lost, t.connected)
	case len(t.failed) > 0:
		return fmt.Errorf("%d of %d sessions could not be opened: %s", sum(t.failed), r.Sessions, mostly(t.failed))
	}
	ends := r.ends()
	if n := sum(ends); n > 0 { // whatever the clients have heard of it
		return fmt.Errorf("the servers ended %d of %d sessions: %s", n, r.tally.connected, mostly(ends))
	}
	return nil
}

// ends are the sessions that the servers have ended, by reason.
func (r *holdRun) ends() map[string]int {
	all := make(map[string]int)
	for _, h := range r.servers {
		merge(all, h.server.Closed)
	}
	return all
}

// add adds another process's.
func (u *usage) add(v usage) {
	u.CPU += v.CPU
	u.Kernel += v.Kernel
	u.RSS += v.RSS
	u.Heap += v.Heap
	u.Stacks += v.Stacks
	u.Goroutines += v.Goroutines
	u.Descriptors += v.Descriptors
}
