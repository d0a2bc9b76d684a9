package load

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/livenet/livenet/liveness"
)

// This file is how the processes of a [Stall] are kept from running, and watched
// meanwhile.

// cgroupPercent is what a control group grants of a CPU.
const cgroupPercent = 5

// waitsFor is how long the ends of the dead may take, in timeouts, from when the
// server went on, or was starved.
const waitsFor = 3

// prepare makes what it takes to starve the server.
func (r *stallRun) prepare(ctx context.Context) (err error) {
	switch r.Starve {
	case StarveCPU:
		if r.burner, err = r.fleet.start("burner", order{Burn: new(burnOrder)}); err != nil {
			return err
		}
		return r.fleet.awaitReady(ctx, []*hand{r.burner})
	case StarveCgroup:
		if r.cgroup, err = newCgroup(); err != nil {
			return err
		}
		return r.cgroup.add(r.server().cmd.Process.Pid)
	}
	return nil
}

// stop stops them for d. It returns the moment at which they went on.
func (r *stallRun) stop(ctx context.Context, d time.Duration) (end time.Time, err error) {
	for _, h := range r.stopped() {
		err = errors.Join(err, h.stop())
	}
	if err == nil {
		err = pause(ctx, d)
	}
	end = time.Now()
	for _, h := range r.stopped() {
		if failed := h.goOn(); err == nil {
			err = failed
		}
	}
	return end, err
}

// stall stalls them and watches what comes of it. It returns the moment
// from which the dead have their time.
func (r *stallRun) stall(ctx context.Context, t *trial) (from time.Time, err error) {
	if r.Starve == StarveStop {
		if from, err = r.stop(ctx, t.stall); err != nil {
			return from, err
		}
		return from, r.watch(ctx, from, r.timeouts(watchedFor), t.dead)
	}
	from = time.Now()
	end, err := r.starve(t)
	if err != nil {
		return from, err
	}
	err = r.watch(ctx, from, r.timeouts(starvedFor), t.dead)
	if failed := end(ctx); err == nil {
		err = failed
	}
	return from, err
}

// starve begins to starve the server, in one of the other ways.
func (r *stallRun) starve(t *trial) (end func(context.Context) error, err error) {
	o := starveOrder{Kind: r.Starve, For: r.timeouts(starvedFor + waitsFor)}
	switch r.Starve {
	case StarveCgroup:
		return func(context.Context) error { return r.cgroup.limit(0) }, r.cgroup.limit(cgroupPercent)
	case StarveCPU:
		r.burner.send(order{Starve: &o})
		return func(ctx context.Context) error {
			r.burner.send(order{Starve: new(starveOrder)})
			return r.fleet.ask(ctx, []*hand{r.burner}, reportOrder{})
		}, nil
	}
	r.server().send(order{Starve: &o})
	over := func(ctx context.Context) error {
		r.server().send(order{Starve: new(starveOrder)})
		return r.fleet.ask(ctx, []*hand{r.server()}, reportOrder{})
	}
	if r.Starve != StarveTicks {
		return over, nil
	}
	// It stops itself in every third tick, and is told to go on in time.
	var going sync.WaitGroup
	quit := make(chan struct{})
	going.Go(func() {
		ticker := time.NewTicker(t.stall + every*liveness.DefaultTick)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				r.server().goOn()
			case <-quit:
				return
			}
		}
	})
	return func(ctx context.Context) error {
		defer going.Wait()
		defer close(quit)
		// Until it has read that it is over, it may stop once more.
		return over(ctx)
	}, nil
}

// askEvery is how often the clients are asked.
const askEvery = 50 * time.Millisecond

// watch asks the clients what becomes of their sessions for at least so long,
// and until the dead have ended or nobody would wait any longer.
func (r *stallRun) watch(ctx context.Context, from time.Time, least time.Duration, dead int) error {
	for {
		if err := r.fleet.ask(ctx, r.clients, reportOrder{Ends: true}); err != nil {
			return err
		}
		elapsed := time.Since(from)
		r.step("trial %d of %d", r.number+1, r.Trials)
		if ended := len(r.sum().Ends); elapsed >= least && (ended >= dead || elapsed >= max(least, r.timeouts(waitsFor))) {
			return nil
		}
		if err := pause(ctx, askEvery); err != nil {
			return err
		}
	}
}
