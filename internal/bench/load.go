package bench

import (
	"context"
	"slices"
	"sync/atomic"
	"time"
)

// A load is what a server that holds many connections does all day: there are
// so many deadlines of half a minute, peers are heard so many times a second,
// and some are not. Each kind of keeper is put under the same one. What the
// load itself takes, with a keeper that does nothing, is not theirs.

const (
	lifetime   = 30 * time.Second // of a deadline
	renewals   = 100_000          // a second
	mostDoomed = 10_000           // deadlines that pass

	// MostLeases is how many are all renewed in good time at that rate, with a
	// third of the time to spare.
	MostLeases = renewals * int(lifetime/time.Second) * 2 / 3
)

// LeaseMemory is what one of very many takes at most, in bytes: as a lease, as a
// timer, or as both, and garbage.
const LeaseMemory = 400

// The course of a load, in units of Renew.For: it settles, and then the
// processor time is taken. Meanwhile, within one unit, the doomed fall due.
const (
	settling = 1
	window   = 5
	dueAfter = 3 // and the beginning of the window
)

// loadRows is how many keepers there are.
const loadRows = 3

func (r Renew) loadTable() *Table {
	t := &Table{
		Key:   "load",
		Title: "Under load",
		Columns: []Column{
			{Key: "what", Kind: Text},
			{Head: "CPU", Key: "cpu_percent", Kind: Percent},
			{Head: "net", Key: "net_cpu_percent", Kind: Percent},
			{Key: "renewals_per_s", Kind: Count, JSONOnly: true},
			{Head: "expired", Key: "expired", Kind: Count},
			{Head: "early", Key: "early", Kind: Count},
			{Head: "late p50", Key: "late_p50_ms", Kind: Millis},
			{Head: "p99", Key: "late_p99_ms", Kind: Millis},
			{Head: "max", Key: "late_max_ms", Kind: Millis},
		},
	}
	t.Note("Deadlines of %[2]v: %[1]s, renewed %[3]s times a second in random order; another "+
		"%[4]s pass within %[5]v. CPU is of one core; net is without what the load takes by "+
		"itself. Late is from the true deadline, by the benchmark's own clock, to the callback.",
		thousands(int64(r.Leases)), lifetime, thousands(renewals), thousands(int64(r.doomed())), r.For)
	return t
}

// loads puts each keeper under the load.
func (r Renew) loads(ctx context.Context, c *course, t *Table) {
	if ctx.Err() != nil {
		return
	}
	order := shuffled(r.Leases)
	var alone float64
	for _, of := range [loadRows]struct {
		what Label
		make func() keeper
	}{
		{Label{"none", "the load alone"}, func() keeper { return idle{} }},
		{Label{"lease", "leases"}, func() keeper { return newLeases(r.Leases, r.doomed(), r.stagger()) }},
		{Label{"timer", "AfterFunc timers"}, func() keeper { return newTimers(r.Leases, r.doomed(), r.stagger()) }},
	} {
		c.begin("under load: " + of.what.Text)
		l := &load{keeper: of.make(), order: cycle{order: order}, doomed: make([]doomed, r.doomed()), unit: r.For}
		ok := l.run(ctx, c)
		l.keeper.end()
		switch _, none := l.keeper.(idle); {
		case !ok:
			return
		case none:
			alone = l.cpu
			t.Add(of.what, l.cpu, nil, l.rate, nil, nil, nil, nil, nil)
		default:
			late, early := l.lateness()
			t.Add(of.what, l.cpu, l.cpu-alone, l.rate, len(late), early, quantile(late, 0.5), quantile(late, 0.99), quantile(late, 1))
		}
	}
}

// doomed is how many deadlines pass within r.For: mostDoomed a second, but no more of
// them than that.
func (r Renew) doomed() int {
	return max(1, min(mostDoomed, int(mostDoomed*r.For/time.Second)))
}

// stagger is over how much time the first judgements of deadlines are spread
// that were all granted at once, so that there are as many a second from the
// beginning as in a server that has run for long. There a deadline is looked at
// again when its lifetime has passed since what was known when it was last
// looked at; and that was, on average, half a turn through all of them old.
func (r Renew) stagger() time.Duration {
	turn := time.Second * time.Duration(r.Leases) / renewals
	return lifetime - turn/2
}

// A load is that on one keeper.
type load struct {
	keeper keeper
	order  cycle // of renewals
	doomed []doomed
	unit   time.Duration

	base      time.Time // the load's clock counts from here
	cpu, rate float64   // in the window: percent of a core, renewals a second
}

// A doomed is a deadline that passes.
type doomed struct {
	timeout time.Duration
	heard   atomic.Int64 // on the load's clock, before the newest renewal
	passed  atomic.Int64 // on the load's clock; 0: not yet
}

// run returns false if ctx ended before it was through.
func (l *load) run(ctx context.Context, c *course) bool {
	l.base = time.Now()
	for i := range l.order.order {
		if l.keeper.hold(i); ctx.Err() != nil {
			return false
		}
	}
	HeapBytes() // leaves no garbage to the window
	passed := l.doom()
	l.pace(ctx, c, settling*l.unit, l.renew)

	began, cpu := time.Now(), CPUTime()
	next := 0
	n := l.pace(ctx, c, window*l.unit, func() {
		if next == len(l.doomed) {
			l.renew()
			return
		}
		l.renewDoomed(next)
		next++
	})
	took := time.Since(began).Seconds()
	l.cpu = 100 * (CPUTime() - cpu).Seconds() / took
	l.rate = float64(n) / took
	return l.await(ctx, passed)
}

// now is the time on the load's clock.
func (l *load) now() time.Duration { return time.Since(l.base) }

func (l *load) renew() { l.keeper.renew(l.order.next()) }

// doom makes the doomed, and returns what hears of each that has passed.
func (l *load) doom() <-chan struct{} {
	passed := make(chan struct{}, len(l.doomed))
	for i := range l.doomed {
		d := &l.doomed[i]
		d.timeout = dueAfter*l.unit + l.unit*time.Duration(i)/time.Duration(len(l.doomed))
		d.heard.Store(int64(l.now()))
		l.keeper.doom(i, d.timeout, func() {
			if d.passed.CompareAndSwap(0, int64(l.now())) {
				passed <- struct{}{}
			}
		})
	}
	return passed
}

func (l *load) renewDoomed(i int) {
	now := int64(l.now())
	if l.keeper.renewDoomed(i) {
		l.doomed[i].heard.Store(now)
	}
}

// pace calls renew as often as the load asks for, for so long, and returns how
// often that was. What a sleep that took too long has left undone is done after
// it.
func (l *load) pace(ctx context.Context, c *course, d time.Duration, renew func()) int {
	const nap = time.Millisecond
	began := time.Now()
	n := 0
	for last := time.Duration(0); ctx.Err() == nil; {
		elapsed := min(time.Since(began), d)
		for due := int(renewals * elapsed / time.Second); n < due; n++ {
			renew()
		}
		c.advance(elapsed - last)
		if last = elapsed; elapsed == d {
			break
		}
		time.Sleep(nap)
	}
	return n
}

// await waits for the doomed, but not for ever: that they have not passed would
// be a finding, too.
func (l *load) await(ctx context.Context, passed <-chan struct{}) bool {
	if _, none := l.keeper.(idle); none {
		return ctx.Err() == nil
	}
	const patience = 10 * time.Second
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for range l.doomed {
		select {
		case <-passed:
		case <-timeout.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
	return ctx.Err() == nil
}

// lateness is how late each deadline passed, sorted, and how many did before
// their time.
func (l *load) lateness() (late []time.Duration, early int) {
	for i := range l.doomed {
		d := &l.doomed[i]
		at := time.Duration(d.passed.Load())
		if at == 0 {
			continue
		}
		by := at - time.Duration(d.heard.Load()) - d.timeout
		if by < 0 {
			early++
		}
		late = append(late, by)
	}
	slices.Sort(late)
	return late, early
}

// quantile is the time that a share of sorted ones do not exceed; nil of none.
func quantile(sorted []time.Duration, share float64) any {
	if len(sorted) == 0 {
		return nil
	}
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}
