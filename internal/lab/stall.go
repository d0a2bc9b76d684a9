package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/livenet/livenet/liveness"
)

// A stallSettings is for a server that is kept from running while its clients
// beat, which it must not take for their silence. Some clients do fall silent at
// that moment, and must be found out. Or the clients are stopped, and judge their
// server: a laptop that wakes up.
type stallSettings struct {
	Transport   string          `json:"transport"`
	Codec       string          `json:"codec"`
	IO          string          `json:"io"`
	Sessions    int             `json:"sessions"`
	Timeout     time.Duration   `json:"timeout_ns"` // of the stalled end's sliding policy
	Beat        time.Duration   `json:"beat_ns"`
	By          string          `json:"by"`
	Stops       []time.Duration `json:"stops_ns,omitempty"` // of by server and clients
	Rounds      int             `json:"rounds"`
	Dead        int             `json:"dead"` // sessions that fall silent in each trial
	Unprotected bool            `json:"unprotected,omitempty"`
}

// Who is stalled, and how.
const (
	byServer  = "server"  // SIGSTOP to the server
	byClients = "clients" // SIGSTOP to the clients
	byRepeat  = "repeat"  // SIGSTOP to the server, again and again, for nine tenths of a timeout
	byCgroup  = "cgroup"  // a control group grants the server 5 % of a CPU
)

var stallers = []string{byServer, byClients, byRepeat, byCgroup}

const (
	cgroupPercent = 5
	repeatStop    = 0.9                      // timeouts
	repeatRun     = 3 * liveness.DefaultTick // between two of them
	starvedFor    = 4                        // timeouts: of repeat and cgroup
	reapedIn      = 3                        // timeouts: what the dead may take under these
	unjudged      = time.Hour                // the timeout of an end that is to judge nobody
)

// A stallRow is all trials of one length.
type stallRow struct {
	Stopped    time.Duration `json:"stopped_ns"`
	Trials     int           `json:"trials"`
	Beating    int           `json:"beating"` // sessions
	Beats      int64         `json:"beats"`
	FalseKills int           `json:"false_kills"`
	Lost       int           `json:"lost"`
	Noticed    int           `json:"stalls_noticed"`
	Dead       int           `json:"dead"`
	Reaped     int           `json:"reaped"`
	InTime     int           `json:"in_time"`
	P50        time.Duration `json:"reaped_p50_ns"` // after the resume, or the beginning of starvation
	Max        time.Duration `json:"reaped_max_ns"`

	after []time.Duration
}

// A stallRun is a stall under way.
type stallRun struct {
	*lab
	stallSettings
	pair   pair
	cgroup *cgroup

	before *sample // what has been charged to the trials
	rows   []*stallRow
	done   int // trials
}

// stall fails if a session ended that beat, or one did not that was silent.
func (l *lab) stall(ctx context.Context, s stallSettings) (*report, error) {
	if err := fits(s.Sessions); err != nil {
		return nil, err
	}
	r := &stallRun{lab: l, stallSettings: s}
	c := newCrew(ctx, l.stderr)
	defer func() {
		c.end()
		r.cgroup.remove()
	}()
	err := r.run(ctx, c)
	var rows []stallRow
	for _, row := range r.rows {
		row.P50, row.Max = median(row.after), quantile(row.after, 1)
		rows = append(rows, *row)
	}
	note := fmt.Sprintf("In time is within %v.", r.limit())
	if s.Dead == 0 {
		note = ""
	}
	rep := newReport("stall", s, table{"Trials", note, rows})
	if err == nil && !s.Unprotected {
		err = r.judge()
	}
	return rep, err
}

func (r *stallRun) timeouts(n float64) time.Duration { return time.Duration(n * float64(r.Timeout)) }

// limit is how soon the dead are to be reaped: after the resume, or from the
// beginning of the starvation on.
func (r *stallRun) limit() time.Duration {
	if r.By == byServer {
		return r.Timeout + 2*liveness.DefaultTick
	}
	return r.timeouts(reapedIn)
}

func (r *stallRun) run(ctx context.Context, c *crew) (err error) {
	r.step(0, "connecting")
	borne := r.Timeout
	for _, d := range r.Stops {
		borne = max(borne, d+r.Timeout)
	}
	serve := serveTask{Transport: r.Transport, Codec: r.Codec, IO: r.IO, Timeout: r.Timeout, Borne: borne, Unprotected: r.Unprotected}
	dial := dialTask{Transport: r.Transport, Codec: r.Codec, Sessions: r.Sessions, Beat: r.Beat, Timeout: r.Timeout, Borne: borne, Judge: unjudged, Sockets: true}
	if r.By == byClients {
		serve.Timeout, serve.Unprotected = unjudged, false
		dial.Timeout, dial.Judge, dial.Unprotected, dial.Sockets = unjudged, r.Timeout, r.Unprotected, false
	}
	if r.pair.server, err = c.start("the server", order{Serve: &serve}); err != nil {
		return err
	}
	dial.Addr = r.pair.server.addr
	if r.pair.client, err = c.start("the client", order{Dial: &dial}); err != nil {
		return err
	}
	if r.By == byCgroup {
		if r.cgroup, err = newCgroup(r.pair.server.cmd.Process.Pid); err != nil {
			return err
		}
	}
	stops := r.Stops
	if r.By == byRepeat || r.By == byCgroup {
		stops = []time.Duration{0}
	}
	for range stops {
		r.rows = append(r.rows, new(stallRow))
	}
	for range r.Rounds {
		for i, d := range stops {
			r.rows[i].Stopped = d
			if err := r.trial(ctx, r.rows[i]); err != nil {
				return err
			}
			r.done++
		}
	}
	if r.By == byClients {
		return r.findOut(ctx)
	}
	return nil
}

// trial opens the sessions that are missing and has all of them beat; some fall
// silent, the stall begins, and what comes of it is charged to the row.
func (r *stallRun) trial(ctx context.Context, row *stallRow) error {
	if _, err := r.pair.client.ask(order{}); err != nil {
		return err
	}
	missing := r.Sessions - r.pair.client.last.Client.alive()
	if err := r.pair.open(missing, func(int) {}); err != nil {
		return err
	}
	if err := settle(ctx, []pair{r.pair}); err != nil {
		return err
	}
	if err := pause(ctx, 2*r.Beat); err != nil {
		return err
	}
	if r.before == nil {
		var err error
		if r.before, err = takeSample([]pair{r.pair}, order{Usage: true}); err != nil {
			return err
		}
	}
	r.step(float64(r.done)/float64(r.Rounds*len(r.rows)), "trial %d of %d", r.done+1, r.Rounds*len(r.rows))
	if _, err := r.pair.client.ask(order{Restart: true}); err != nil {
		return err
	}
	if r.Dead > 0 {
		if _, err := r.pair.client.ask(order{Silence: &silence{N: r.Dead}}); err != nil {
			return err
		}
	}
	from, err := r.keepFromRunning(ctx, row.Stopped)
	if err != nil {
		return err
	}
	ends := r.pair.client.last.Client.Ends
	if err := settle(ctx, []pair{r.pair}); err != nil {
		return err
	}
	return r.charge(row, from, ends)
}

// keepFromRunning stalls and waits until the dead have ended, or had their time.
// It returns the moment from which that counts.
func (r *stallRun) keepFromRunning(ctx context.Context, d time.Duration) (from time.Time, err error) {
	switch r.By {
	case byServer:
		if from, err = stopFor(ctx, r.pair.server, d); err != nil {
			return from, err
		}
		return from, r.await(ctx, from, r.timeouts(1.5))
	case byClients:
		if from, err = stopFor(ctx, r.pair.client, d); err != nil {
			return from, err
		}
		return from, r.await(ctx, from, r.timeouts(1.5))
	case byCgroup:
		from = time.Now()
		if err := r.cgroup.limit(cgroupPercent); err != nil {
			return from, err
		}
		err = r.await(ctx, from, r.timeouts(starvedFor))
		return from, errors.Join(err, r.cgroup.limit(0))
	}
	from = time.Now()
	for time.Since(from) < r.timeouts(starvedFor) {
		if _, err := stopFor(ctx, r.pair.server, r.timeouts(repeatStop)); err != nil {
			return from, err
		}
		if err := pause(ctx, repeatRun); err != nil {
			return from, err
		}
	}
	return from, r.await(ctx, from, 0)
}

// stopFor stops a process for d, and returns when it went on.
func stopFor(ctx context.Context, w *worker, d time.Duration) (resumed time.Time, err error) {
	if err := w.signal(syscall.SIGSTOP); err != nil {
		return resumed, err
	}
	err = pause(ctx, d)
	resumed = time.Now()
	return resumed, errors.Join(err, w.signal(syscall.SIGCONT))
}

// await asks the client for at least so long, and then until all of the dead have
// ended or nobody would wait longer.
func (r *stallRun) await(ctx context.Context, from time.Time, least time.Duration) error {
	for {
		a, err := r.pair.client.ask(order{})
		if err != nil {
			return err
		}
		took := time.Since(from)
		if took >= least && (len(a.Client.Ends) >= r.Dead || took > max(least, r.timeouts(reapedIn))) {
			return nil
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// charge adds to a row what has happened since the last charge.
func (r *stallRun) charge(row *stallRow, from time.Time, ends []int64) error {
	now, err := takeSample([]pair{r.pair}, order{Usage: true})
	if err != nil {
		return err
	}
	row.Trials++
	row.Dead += r.Dead
	row.Beating += r.Sessions - r.Dead
	row.Beats += now.client.Beats - r.before.client.Beats
	row.FalseKills += now.client.FalseKills - r.before.client.FalseKills
	row.Lost += now.client.gone() - r.before.client.gone()
	row.Noticed = r.pair.server.last.Server.Stalls
	if r.By == byClients {
		row.Noticed = now.client.Stalls
	}
	for _, at := range ends {
		after := time.Unix(0, at).Sub(from)
		row.after = append(row.after, after)
		if after <= r.timeouts(reapedIn) {
			row.Reaped++
		}
		if after <= r.limit() {
			row.InTime++
		}
	}
	r.before = now
	return nil
}

// findOut has the server stop for good: clients that wake up must still find out
// that one is dead.
func (r *stallRun) findOut(ctx context.Context) error {
	if err := r.pair.server.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	defer r.pair.server.signal(syscall.SIGCONT)
	left := 0
	for from := time.Now(); time.Since(from) < r.timeouts(reapedIn)+time.Second; {
		a, err := r.pair.client.ask(order{})
		if err != nil {
			return err
		}
		if left = a.Client.alive(); left == 0 {
			return nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("%d clients did not find out that their server was stopped", left)
}

// judge finds what should not have happened.
func (r *stallRun) judge() error {
	var all stallRow
	for _, row := range r.rows {
		all.FalseKills += row.FalseKills
		all.Lost += row.Lost
		all.Dead += row.Dead
		all.Reaped += row.Reaped
	}
	silent := r.before.closed[liveness.Silent.String()]
	switch {
	case all.FalseKills > 0:
		return fmt.Errorf("%d sessions were ended for silence although their peer beat", all.FalseKills)
	case r.By != byClients && silent > all.Dead: // whatever the clients have heard of it
		return fmt.Errorf("the server ended %d sessions for silence, and %d were silent", silent, all.Dead)
	case all.Reaped < all.Dead:
		return fmt.Errorf("%d silent sessions were not ended in time", all.Dead-all.Reaped)
	case r.before.closed.sum() > silent:
		return fmt.Errorf("%d sessions were ended, but not for silence", r.before.closed.sum()-silent)
	case all.Lost > 0:
		return fmt.Errorf("%d sessions that beat were lost", all.Lost)
	}
	return nil
}
