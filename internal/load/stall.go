package load

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"time"

	"github.com/livenet/livenet/internal/bench"
	"github.com/livenet/livenet/liveness"
)

// A Stall keeps a server from running while its clients go on beating, and
// looks whether it takes that for their silence. Some clients do fall silent at
// that moment, and are to be found out nevertheless. Or it stops the clients, who
// judge their servers then, as a laptop does that wakes up.
type Stall struct {
	Transport string
	Codec     string
	IO        string // as in [Hold]
	Sessions  int
	Timeout   time.Duration // the policy of those who are stalled: sliding
	Beat      time.Duration
	Side      string    // who is stalled: SideServer or SideClient
	Starve    string    // one of [Starvations]; clients are stopped
	Stops     []float64 // how long they are stopped, in timeouts: of each trial in turn
	Trials    int
	Dead      int  // sessions that fall silent in each trial; 0 with SideClient
	Compare   bool // with such that are not protected

	// Command is a process, still to be started, whose main is [Work].
	Command func() *exec.Cmd
}

// Who is stalled.
const (
	SideServer = "server"
	SideClient = "client"
)

// Shape is what the run asks the machine for. There is one server.
func (s *Stall) Shape() Shape {
	return Shape{
		Transport: s.Transport, Codec: s.Codec, IO: s.IO, Sessions: s.Sessions, Servers: 1,
		Judging: s.Side == SideClient, Flag: FlagSessions,
	}
}

// Run runs the trials. It fails with a [*LimitError], and has done nothing, if
// the sessions don't fit this machine; and if somebody who is protected ended a
// session that beat, or kept one that did not.
func (s *Stall) Run(ctx context.Context, p bench.Progress) (*bench.Report, error) {
	limits, err := admit(s.Shape())
	if err != nil {
		return nil, err
	}
	r := &stallRun{Stall: s, limits: limits, progress: p}
	protections := []bool{true}
	if s.Compare {
		protections = append(protections, false)
	}
	for _, protected := range protections {
		r.protected = protected
		if err := r.half(ctx); err != nil {
			return r.report(), err
		}
	}
	return r.report(), r.judge()
}

// A stallRun is a Stall under way.
type stallRun struct {
	*Stall
	*crew
	limits   Limits
	progress bench.Progress

	protected bool // those who are stalled now
	number    int  // of the trial under way; -1: none yet
	began     time.Time
	charged   counts // to the trials that there were
	burner    *hand
	cgroup    *cgroup
	trials    []*trial
}

// counts are what clients and server have counted since they began.
type counts struct {
	clients holding
	closed  map[string]int // by the server
	stalls  int            // of those who were to be stalled
}

// A trial is one stall, and what came of it.
type trial struct {
	protected bool
	stall     time.Duration // how long, once or again and again; 0: that is not known
	beating   int           // sessions
	beats     int64
	kills     int // of sessions that beat
	lost      int // others that ended, of those that beat
	dead      int
	reaped    int             // of them
	inTime    int             // and those that were by when they are to be
	ends      []time.Duration // of the dead: after the server went on, or was starved
	reasons   map[string]int  // of all ends
	stalls    int             // that the engine noticed
}

const (
	// patience is the clients', who are to judge nobody.
	patience = time.Hour

	// tickStall is how long each third tick is stalled, in timeouts. The dead are
	// to be found out within three timeouts: that can't be had of one who looks
	// but once in a timeout, and may not believe what he sees the first time.
	tickStall = 0.9

	// starvedFor is how long a server is starved, in timeouts. What became of
	// the dead must be known by then.
	starvedFor = 4

	// watchedFor is how long a server is watched that has been stopped, in
	// timeouts.
	watchedFor = 1.5
)

// timeouts is n times the timeout.
func (s *Stall) timeouts(n float64) time.Duration { return time.Duration(n * float64(s.Timeout)) }

// stallOf is how long the server is stopped in a trial.
func (s *Stall) stallOf(trial int) time.Duration {
	switch s.Starve {
	case StarveStop:
		return s.timeouts(s.Stops[trial%len(s.Stops)])
	case StarveTicks:
		return s.timeouts(tickStall)
	}
	return 0
}

// limit is by when the dead are to be reaped, after the server went on or was
// starved.
func (s *Stall) limit() time.Duration {
	if s.Starve == StarveStop {
		return s.Timeout + 2*liveness.DefaultTick
	}
	return s.timeouts(waitsFor)
}

// borne is the silence that what lies below the policies has to bear: who
// is stopped says nothing.
func (s *Stall) borne() time.Duration {
	longest := time.Duration(0)
	for trial := range s.Trials {
		longest = max(longest, s.stallOf(trial))
	}
	return longest + s.Timeout
}

// lasts is about how long a trial takes.
func (s *Stall) lasts(trial int) time.Duration {
	if s.Starve == StarveStop {
		return time.Second + s.stallOf(trial) + s.timeouts(watchedFor)
	}
	return time.Second + s.timeouts(starvedFor)
}

func (r *stallRun) step(format string, args ...any) {
	connecting := float64(r.Sessions) / rates[r.Transport]
	halves, done := 1.0, 0.0
	if r.Compare {
		halves = 2
	}
	half := connecting
	for i := range r.Trials {
		half += r.lasts(i).Seconds()
	}
	if r.number >= 0 {
		done = connecting + min(time.Since(r.began), r.lasts(r.number)).Seconds()
		for i := range r.number {
			done += r.lasts(i).Seconds()
		}
	}
	if !r.protected {
		done += half
	}
	r.progress.Step(fmt.Sprintf(format, args...), done, halves*half)
}

// half is all trials of those who are protected, or of those who are not.
func (r *stallRun) half(ctx context.Context) (err error) {
	r.crew = newCrew(r.limits, r.Shape(), r.Command)
	defer func() {
		r.fleet.end()
		if r.cgroup != nil {
			r.cgroup.remove()
			r.cgroup = nil
		}
	}()
	r.number, r.charged = -1, counts{}
	r.step("starting the server and %d client processes", len(r.plan.Clients))
	serve := serveOrder{Timeout: r.Timeout, Borne: r.borne(), Unprotected: !r.protected}
	hold := holdOrder{Beat: r.Beat, Timeout: r.Timeout, Borne: r.borne(), Judge: patience}
	if r.Side == SideClient {
		serve.Timeout, serve.Unprotected = patience, false
		hold.Judging, hold.Judge, hold.Timeout, hold.Unprotected = true, r.Timeout, patience, !r.protected
	}
	if err = r.start(ctx, serve, hold); err != nil {
		return err
	}
	if err := r.prepare(ctx); err != nil {
		return err
	}
	for i := range r.Trials {
		if err := r.fill(ctx); err != nil {
			return err
		}
		r.number, r.began = i, time.Now()
		if err := r.try(ctx); err != nil {
			return err
		}
	}
	// What has come of it only now is the last trial's.
	if err := r.settle(ctx, nil); err != nil {
		return err
	}
	return r.charge(ctx, r.trials[len(r.trials)-1])
}

func (r *stallRun) server() *hand { return r.servers[0] }

// stopped are the processes to be stopped.
func (r *stallRun) stopped() []*hand {
	if r.Side == SideClient {
		return r.clients
	}
	return r.servers
}

// fill has those sessions opened that are not there, and waits until all of
// them beat.
func (r *stallRun) fill(ctx context.Context) error {
	if err := r.fleet.ask(ctx, r.fleet.workers, reportOrder{}); err != nil {
		return err
	}
	var want [][]Target
	missing := 0
	for i, h := range r.clients {
		n := r.plan.Clients[i].sessions() - (h.client.Connected - h.client.Lost)
		want = append(want, []Target{{0, n}})
		missing += n
	}
	if missing > 0 {
		err := r.connect(ctx, want, func(opened, all int) { r.step("connecting %d/%d", opened, all) })
		if err != nil {
			return err
		}
		if n := sum(r.tally.failed); n > 0 {
			return fmt.Errorf("%d sessions could not be opened: %s", n, mostly(r.tally.failed))
		}
	}
	if err := r.settle(ctx, nil); err != nil {
		return err
	}
	return pause(ctx, 2*r.Beat)
}

// try is one trial.
func (r *stallRun) try(ctx context.Context) error {
	t := &trial{protected: r.protected, stall: r.stallOf(r.number), dead: min(r.Dead, r.Sessions)}
	t.beating = r.Sessions - t.dead
	r.step("trial %d of %d", r.number+1, r.Trials)
	if err := r.fleet.ask(ctx, r.fleet.workers, reportOrder{Restart: true}); err != nil {
		return err
	}
	before := r.sum().Beats
	if err := r.silence(ctx, t.dead); err != nil {
		return err
	}
	from, err := r.stall(ctx, t)
	if err != nil {
		return err
	}
	if err := r.charge(ctx, t); err != nil {
		return err
	}
	t.beats = r.charged.clients.Beats - before
	for _, at := range r.charged.clients.Ends {
		after := time.Unix(0, at).Sub(from)
		t.ends = append(t.ends, after)
		if after <= r.timeouts(waitsFor) {
			t.reaped++
		}
		if after <= r.limit() {
			t.inTime++
		}
	}
	r.trials = append(r.trials, t)
	return nil
}

// charge adds to a trial what has ended since the last one was charged, be it
// between the two of them: what is left of a stall may take its time.
func (r *stallRun) charge(ctx context.Context, t *trial) error {
	if err := r.fleet.ask(ctx, r.fleet.workers, reportOrder{Ends: true}); err != nil {
		return err
	}
	server := r.server().server
	now, before := counts{r.sum(), maps.Clone(server.Closed), server.Stalls}, r.charged
	if r.Side == SideClient {
		now.stalls = now.clients.Stalls
	}
	lost := func(h holding) int { return h.Lost - h.Ended - h.FalseKills }
	t.kills += now.clients.FalseKills - before.clients.FalseKills
	t.lost += lost(now.clients) - lost(before.clients)
	t.stalls += now.stalls - before.stalls
	if t.reasons == nil {
		t.reasons = make(map[string]int)
	}
	for reason, n := range now.closed {
		if n -= before.closed[reason]; n > 0 {
			t.reasons[reason] += n
		}
	}
	r.charged = now
	return nil
}

// sum is what the clients have noted last, together.
func (r *stallRun) sum() holding {
	var all holding
	for _, h := range r.clients {
		all.Beats += h.client.Beats
		all.Lost += h.client.Lost
		all.FalseKills += h.client.FalseKills
		all.Ended += h.client.Ended
		all.Stalls += h.client.Stalls
		all.Ends = append(all.Ends, h.client.Ends...)
	}
	return all
}

// silence has n sessions fall silent, spread over the clients.
func (r *stallRun) silence(ctx context.Context, n int) error {
	for i, h := range r.clients {
		from, to := part(n, i, len(r.clients))
		h.send(order{Silence: &silenceOrder{N: to - from}})
	}
	return r.fleet.ask(ctx, r.clients, reportOrder{})
}
