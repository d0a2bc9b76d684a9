package load

import (
	"fmt"
	"slices"
	"time"

	"github.com/livenet/livenet/internal/bench"
	"github.com/livenet/livenet/liveness"
)

// guarded is all trials of those who are protected, together.
func (r *stallRun) guarded() *trial {
	all := new(trial)
	for _, t := range r.trials {
		if t.protected {
			all.add(t)
		}
	}
	return all
}

// judge finds what should not have happened.
func (r *stallRun) judge() error {
	all := r.guarded()
	silent := all.reasons[liveness.Silent.String()]
	delete(all.reasons, liveness.Silent.String())
	switch {
	case all.kills > 0:
		return fmt.Errorf("%d sessions were ended for silence although %s", all.kills, r.alive())
	case silent > all.dead: // whatever the clients have heard of it
		return fmt.Errorf("the server ended %d sessions for silence, and %d were silent", silent, all.dead)
	case all.reaped < all.dead:
		return fmt.Errorf("%d silent sessions were not ended in time", all.dead-all.reaped)
	case sum(all.reasons) > 0:
		return fmt.Errorf("%d sessions were ended, but not for silence: %s", sum(all.reasons), mostly(all.reasons))
	case all.lost > 0:
		return fmt.Errorf("%d sessions that beat were lost", all.lost)
	}
	return nil
}

// alive is what a session does that must not be ended.
func (r *stallRun) alive() string {
	if r.Side == SideClient {
		return "their server answered"
	}
	return "they beat"
}

func (r *stallRun) report() *bench.Report {
	rep := &bench.Report{Bench: "stall", Settings: []bench.Field{
		setting("transport", r.Transport),
		setting("codec", r.Codec),
		setting("io", r.IO),
		setting("sessions", r.Sessions),
		setting("timeout", r.Timeout),
		setting("beat", r.Beat),
		setting("side", r.Side),
		setting("starve", r.Starve),
		setting("trials", r.Trials),
		setting("dead", r.Dead),
	}}
	if r.Starve == StarveStop {
		rep.Settings = append(rep.Settings, setting("stops", r.Stops))
	}
	rep.Tables = []*bench.Table{r.trialsTable(), tableOf("ends", "Sessions that ended, as the server saw it", "reason", "sessions", r.guarded().reasons)}
	return rep
}

// nameOf is what those who were stalled are called, with how long they were.
func nameOf(protected bool, stall time.Duration) bench.Label {
	l := bench.Label{Key: "protected"}
	if !protected {
		l.Key = "unprotected"
	}
	l.Text = l.Key
	if stall > 0 {
		l.Text = fmt.Sprintf("%s, %v", l.Key, stall)
	}
	return l
}

// trialsTable has a row for each length of a stall.
func (r *stallRun) trialsTable() *bench.Table {
	none := r.Dead == 0 // falls silent: a table needs no columns for those
	t := &bench.Table{Key: "rows", Columns: []bench.Column{
		{Head: r.Side, Key: "who", Kind: bench.Text},
		{Head: "stalled", Key: "stalled_s", Kind: bench.Seconds, JSONOnly: true},
		{Head: "trials", Key: "trials", Kind: bench.Count},
		{Head: "beating", Key: "beating", Kind: bench.Count},
		{Head: "beats", Key: "beats", Kind: bench.Count},
		{Head: "false kills", Key: "false_kills", Kind: bench.Count},
		{Head: "lost", Key: "lost", Kind: bench.Count},
		{Head: "stalls noticed", Key: "stalls", Kind: bench.Count, JSONOnly: true},
		{Head: "dead", Key: "dead", Kind: bench.Count, Break: !none, JSONOnly: none},
		{Head: "reaped", Key: "reaped", Kind: bench.Count, JSONOnly: none},
		{Head: "in time", Key: "in_time", Kind: bench.Count, JSONOnly: none},
		{Head: "after p50", Key: "reaped_p50_ms", Kind: bench.Millis, JSONOnly: none},
		{Head: "max", Key: "reaped_max_ms", Kind: bench.Millis, JSONOnly: none},
	}}
	for _, protected := range []bool{true, false} {
		var stalls []time.Duration
		for _, t := range r.trials {
			if t.protected == protected && !slices.Contains(stalls, t.stall) {
				stalls = append(stalls, t.stall)
			}
		}
		slices.Sort(stalls)
		for _, stall := range stalls {
			var all trial
			n := 0
			for _, t := range r.trials {
				if t.protected == protected && t.stall == stall {
					n++
					all.add(t)
				}
			}
			slices.Sort(all.ends)
			known := len(all.ends) > 0
			var p50, most time.Duration
			if known {
				p50, most = all.ends[len(all.ends)/2], all.ends[len(all.ends)-1]
			}
			t.Add(nameOf(protected, stall), or(stall > 0, stall), n, all.beating, all.beats, all.kills, all.lost, all.stalls,
				all.dead, all.reaped, all.inTime, or(known, p50), or(known, most))
		}
	}
	if r.Dead > 0 {
		from := "was starved"
		if r.Starve == StarveStop {
			from = "went on"
		}
		t.Note("In time is within %v of when the server %s.", r.limit(), from)
	}
	return t
}

// add adds another trial's figures.
func (t *trial) add(u *trial) {
	t.beating += u.beating
	t.beats += u.beats
	t.kills += u.kills
	t.lost += u.lost
	t.dead += u.dead
	t.reaped += u.reaped
	t.inTime += u.inTime
	t.stalls += u.stalls
	t.ends = append(t.ends, u.ends...)
	if t.reasons == nil {
		t.reasons = make(map[string]int)
	}
	merge(t.reasons, u.reasons)
}
