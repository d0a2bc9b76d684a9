package load

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"time"

	"github.com/livenet/livenet/internal/bench"
)

// A Fail has very many sessions lose their peers in one instant, and looks what
// becomes of the server meanwhile, of their neighbours, and of those who want to
// connect.
type Fail struct {
	Transport  string
	IO         string // as in [Hold]
	Sessions   int    // that fail
	Neighbours int    // that go on beating
	Timeout    time.Duration
	Beat       time.Duration
	Slow       time.Duration // what whoever is told of the ends takes for each, where he is slow
	Ways       []string      // of [FailWays]: one after another

	// Command is a process, still to be started, whose main is [Work].
	Command func() *exec.Cmd
}

// The ways to fail.
const (
	FailSilent = "silent" // the peers beat once more, all at once, and then no more
	FailSlow   = "slow"   // the same, and whoever is told of the ends takes his time
	FailKilled = "killed" // the peers' process is killed, and the kernel ends its connections
)

// FailWays are all of them.
var FailWays = []string{FailSilent, FailSlow, FailKilled}

// failCodec is what sessions speak: one in which opening a session takes the
// server's answer.
const failCodec = "frame"

// Shape is what the run asks the machine for.
func (f *Fail) Shape() Shape {
	return Shape{
		Transport: f.Transport, Codec: failCodec, IO: f.IO, Sessions: f.Sessions + f.Neighbours, Neighbours: f.Neighbours,
		Servers: 1, Flag: FlagSessions,
	}
}

// Run has them fail, each time with processes of their own. It fails with a
// [*LimitError], and has done nothing, if the sessions don't fit this machine;
// and if one of them is left over, or was not told of, or a neighbour was lost.
func (f *Fail) Run(ctx context.Context, p bench.Progress) (*bench.Report, error) {
	limits, err := admit(f.Shape())
	if err != nil {
		return nil, err
	}
	r := &failRun{Fail: f, limits: limits, progress: p}
	for i, way := range f.Ways {
		r.number, r.failure = i, &failure{way: way}
		err := r.run(ctx)
		r.fleet.end()
		if err != nil {
			return r.report(), err
		}
		r.failures = append(r.failures, r.failure)
	}
	return r.report(), r.judge()
}

// A failRun is a Fail under way.
type failRun struct {
	*Fail
	*crew
	limits   Limits
	progress bench.Progress
	prober   *hand

	number int // of the way
	*failure
	failures []*failure
}

// A failure is one way to fail, and what came of it.
type failure struct {
	way             string
	due             time.Time // when the last of the sessions ought to end
	ends            endings
	reasons         map[string]int
	usual, meantime churning // those who connect, before and meanwhile
	neighbours      int      // that were lost
	early           int      // of the sessions that were to end
}

const (
	// probers connect at a time, and pause after each connection: they are there
	// to see how busy the server is, not to make it so.
	probers     = 4
	proberPause = 10 * time.Millisecond

	// usualTime is for how long it is measured how they get on when nothing is
	// amiss.
	usualTime = 2 * time.Second

	// ahead of when the sessions are due, what is measured meanwhile begins.
	ahead = 200 * time.Millisecond

	// failTime is how long the server may tell of no end, beside what it takes over
	// each.
	failTime = 30 * time.Second
)

func (r *failRun) step(share float64, what string) {
	r.progress.Step(fmt.Sprintf("%s: %s", r.way, what), float64(r.number)+share, float64(len(r.Ways)))
}

func (r *failRun) run(ctx context.Context) error {
	r.crew = newCrew(r.limits, r.Shape(), r.Command)
	r.step(0, "connecting")
	serve := serveOrder{Timeout: r.Timeout, Echo: true, Ends: true}
	if r.way == FailSlow {
		serve.Slow = r.Slow
	}
	if err := r.start(ctx, serve, holdOrder{Beat: r.Beat, Timeout: r.Timeout, Judge: patience}); err != nil {
		return err
	}
	err := r.connect(ctx, r.crew.plan.targetsOfAll(), nil)
	if n := sum(r.tally.failed); err == nil && n > 0 {
		err = fmt.Errorf("%d sessions could not be opened: %s", n, mostly(r.tally.failed))
	}
	if err == nil {
		err = r.settle(ctx, nil)
	}
	if err == nil {
		err = r.measureUsual(ctx)
	}
	if err == nil {
		err = r.fail(ctx)
	}
	return err
}

func (r *failRun) server() []*hand { return r.servers[:1] }

// victims are the clients whose sessions are to fail, and neighbour the other,
// if there are any.

func (r *failRun) victims() []*hand { return r.clients[:len(r.clients)-len(r.neighbour())] }

func (r *failRun) neighbour() []*hand {
	if r.Neighbours == 0 {
		return nil
	}
	return r.clients[len(r.clients)-1:]
}

// measureUsual measures how long it takes to connect while nothing is amiss.
func (r *failRun) measureUsual(ctx context.Context) (err error) {
	r.step(0.3, "what is usual")
	// The server is not asked any more which sessions it had accepted before.
	r.servers[0].send(order{Mark: true})
	if err := r.fleet.ask(ctx, r.server(), reportOrder{}); err != nil {
		return err
	}
	r.prober, err = r.fleet.start("the prober", order{Churn: &churnOrder{
		Transport: r.Transport, Codec: failCodec, Parallel: probers, Timeout: churnTimeout, Pause: proberPause,
		Sources: Sources{r.crew.plan.sources(), churnSources}, Server: r.servers[0].served,
	}})
	if err != nil {
		return err
	}
	if err := r.fleet.awaitReady(ctx, []*hand{r.prober}); err != nil {
		return err
	}
	if err := pause(ctx, usualTime/4); err != nil {
		return err
	}
	if err := r.probe(ctx, nil, false); err != nil {
		return err
	}
	if err := pause(ctx, usualTime); err != nil {
		return err
	}
	return r.probe(ctx, &r.usual, false)
}

// probe gets what the prober has measured since the last time. The last time it
// stops: a connection that hangs is waited for.
func (r *failRun) probe(ctx context.Context, to *churning, last bool) error {
	err := r.fleet.ask(ctx, []*hand{r.prober}, reportOrder{Restart: true, Stop: last})
	if to != nil {
		*to = r.prober.churn
	}
	return err
}

// fail has them fail, and measures.
func (r *failRun) fail(ctx context.Context) error {
	r.step(0.6, "failing")
	if err := r.fleet.ask(ctx, r.server(), reportOrder{}); err != nil {
		return err
	}
	before, lost := maps.Clone(r.servers[0].server.Closed), r.lost()
	if err := r.breakAll(ctx); err != nil {
		return err
	}
	if err := r.await(ctx); err != nil {
		return err
	}
	// Whatever comes after the last of them is measured as well.
	if err := pause(ctx, usualTime/2); err != nil {
		return err
	}
	if err := r.probe(ctx, &r.meantime, true); err != nil {
		return err
	}
	if err := r.fleet.ask(ctx, append(r.neighbour(), r.server()...), reportOrder{}); err != nil {
		return err
	}
	if r.way != FailKilled {
		if err := r.fleet.ask(ctx, r.victims(), reportOrder{}); err != nil {
			return err
		}
		for _, h := range r.victims() {
			r.early += h.client.FalseKills
		}
	}
	r.ends = *r.servers[0].server.Ends
	r.neighbours = r.lost() - lost
	r.reasons = maps.Clone(r.servers[0].server.Closed)
	for reason, n := range before {
		r.reasons[reason] -= n
	}
	return nil
}

// lost is how many neighbours have been lost.
func (r *failRun) lost() int {
	n := 0
	for _, h := range r.neighbour() {
		n += h.client.Lost
	}
	return n
}

// breakAll breaks the connections, or what keeps them alive.
func (r *failRun) breakAll(ctx context.Context) error {
	due := r.Timeout
	if r.way == FailKilled {
		if r.Transport != "quic" { // of which nobody tells the server
			due = 0
		}
		if err := r.probe(ctx, nil, false); err != nil {
			return err
		}
		for _, h := range r.victims() {
			h.killed = true
			h.cmd.Process.Kill()
		}
	} else {
		for i, h := range r.victims() {
			h.send(order{Silence: &silenceOrder{N: r.crew.plan.Clients[i].sessions(), Last: true}})
		}
		if err := r.fleet.ask(ctx, r.victims(), reportOrder{}); err != nil {
			return err
		}
	}
	r.due = time.Now().Add(due)
	if due == 0 {
		return nil
	}
	if err := pause(ctx, due-ahead); err != nil {
		return err
	}
	return r.probe(ctx, nil, false)
}

// await waits until the server has told of all the ends.
func (r *failRun) await(ctx context.Context) error {
	told, since := 0, r.due // how many, and since when no more
	for r.ends.Told < r.Sessions && time.Since(since) < failTime+r.Slow {
		if err := r.fleet.ask(ctx, r.server(), reportOrder{}); err != nil {
			return err
		}
		r.ends = *r.servers[0].server.Ends
		if r.ends.Told > told {
			told, since = r.ends.Told, time.Now()
		}
		r.step(0.6+0.4*float64(r.ends.Told)/float64(r.Sessions), fmt.Sprintf("%d of %d have ended", r.ends.Told, r.Sessions))
		if err := pause(ctx, askEvery); err != nil {
			return err
		}
	}
	return nil
}

// judge finds what should not have happened.
func (r *failRun) judge() error {
	for _, f := range r.failures {
		switch {
		case f.neighbours > 0: // of which it has told as well
			return fmt.Errorf("%s: %d of %d neighbours were lost", f.way, f.neighbours, r.Neighbours)
		case f.early > 0:
			return fmt.Errorf("%s: %d of %d sessions were ended before their time", f.way, f.early, r.Sessions)
		case f.ends.Told != r.Sessions:
			return fmt.Errorf("%s: %d of %d ends were told of", f.way, f.ends.Told, r.Sessions)
		case f.ends.Again > 0:
			return fmt.Errorf("%s: %d ends were told of again", f.way, f.ends.Again)
		case sum(f.meantime.Failed) > 0:
			return fmt.Errorf("%s: %d connections failed meanwhile: %s", f.way, sum(f.meantime.Failed), mostly(f.meantime.Failed))
		}
	}
	return nil
}
