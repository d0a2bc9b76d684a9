package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A figure is the name of something measured.
type figure string

const (
	renewTime   figure = "renew-ns"          // per renewal, one after the other, in random order
	renewAllocs figure = "renew-allocs"      // likewise
	entryBytes  figure = "entry-bytes"       // per entry, freshly granted
	loadedBytes figure = "entry-bytes-after" // per entry, when all have been renewed for a while
	coreShare   figure = "core-share"        // of one core, at the plan's rate; of a load, above the bare loop
	rateKept    figure = "rate-kept"         // share of that rate that was reached
	early       figure = "early"             // entries that expired before their deadline
	earliest    figure = "earliest-ms"       // by how much, at most
	lateP50     figure = "late-p50-ms"
	lateP99     figure = "late-p99-ms"
	lateMax     figure = "late-max-ms"
	lost        figure = "lost"     // entries that did not expire at all
	leftOut     figure = "left-out" // entries that expired, nobody knows by which deadline
)

// measureDeadlines takes one sample of every figure of every way.
func measureDeadlines(ctx context.Context, o *options, r *report, p *progress) error {
	var errs []error
	loop := 0.0
	for _, w := range ways {
		// The bare loop is what the others are compared with.
		if w.name != bare && !o.match.MatchString(w.name) {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n := o.Entries
		if w.conns {
			n = o.Conns
		}
		row := r.row(familyDeadlines, w.name)
		row.Ours, row.N, row.Note = w.ours, n, w.note
		p.say("%s: %d entries, %d renewals", w.name, n, o.Renewals)
		err := timeRenewals(w, o.plan, n, row)
		if err == nil {
			p.say("%s: %d renewals a second, and %d expiries", w.name, o.Rate, o.Expiries)
			var share float64
			share, err = loadRenewals(ctx, w, o.plan, n, row)
			if w.name == bare {
				loop = share
			} else {
				share -= loop
			}
			if err == nil {
				row.add(coreShare, share)
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", w.name, err)
			p.say("%v", err)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// timeRenewals renews random entries, one after the other.
func timeRenewals(w way, p plan, n int, row *row) error {
	debug.FreeOSMemory() // what the way before left behind
	k, err := w.open(p)
	if err != nil {
		return err
	}
	defer k.close()
	order := make([]uint32, p.Renewals)
	for i := range order {
		order[i] = rand.Uint32N(uint32(n))
	}
	before := heap()
	k.grow(n)
	if w.weighed() {
		row.add(entryBytes, float64(heap()-before)/float64(n))
	}
	k.renew(order[:len(order)/8]) // the caches are as warm as they get

	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	start := time.Now()
	k.renew(order)
	took := time.Since(start)
	runtime.ReadMemStats(&m1)
	row.add(renewTime, float64(took.Nanoseconds())/float64(len(order)))
	row.add(renewAllocs, float64(m1.Mallocs-m0.Mallocs)/float64(len(order)))
	return nil
}

// heap is the size of the live objects.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// loadRenewals renews at the plan's rate, and returns the processor time that
// everything takes together, as a share of a core. Under the same load it lets
// some entries expire.
//
// Whoever puts work off must not get away with it. So the entries are granted
// over the length of their timeout, and what is measured begins after that:
// when those who look at an entry again when its first deadline comes have as
// much of that to do as they ever will.
func loadRenewals(ctx context.Context, w way, p plan, n int, row *row) (share float64, err error) {
	debug.FreeOSMemory()
	k, err := w.open(p)
	if err != nil {
		return 0, err
	}
	defer k.close()
	l := newRenewer(k, n, p.Rate)
	before := heap()
	warm := p.Timeout
	if w.name == bare {
		warm = min(warm, time.Second) // nothing is put off
	}
	ctx, cancel := context.WithCancel(ctx)
	var loop sync.WaitGroup
	loop.Go(func() { l.run(ctx, warm) })
	defer loop.Wait()
	defer cancel()

	if !pause(ctx, warm+p.Settle) {
		return 0, ctx.Err()
	}
	done, start, used := l.done.Load(), time.Now(), processorTime()
	if !pause(ctx, p.Window) {
		return 0, ctx.Err()
	}
	used = processorTime() - used
	took := time.Since(start).Seconds()
	row.add(rateKept, float64(l.done.Load()-done)/took/float64(p.Rate))
	if w.weighed() {
		row.add(loadedBytes, float64(heap()-before)/float64(n))
	}
	if w.name != bare {
		err = expire(ctx, k, w, p, row)
	}
	return used.Seconds() / took, err
}

// A renewer renews at a rate: every entry in its turn, in random order, so
// that none is left to expire.
type renewer struct {
	k     keeper
	order []uint32
	rate  float64
	done  atomic.Int64
}

func newRenewer(k keeper, n, rate int) *renewer {
	l := &renewer{k: k, order: make([]uint32, n), rate: float64(rate)}
	for i := range l.order {
		l.order[i] = uint32(i)
	}
	rand.Shuffle(n, func(i, j int) { l.order[i], l.order[j] = l.order[j], l.order[i] })
	return l
}

// run grants all entries, spread over warm, and renews those there are until
// ctx ends.
func (l *renewer) run(ctx context.Context, warm time.Duration) {
	const most = 1000 // in one batch
	n := len(l.order)
	granted, next := 0, 0
	batch := make([]uint32, 0, most)
	done := 0
	for start := time.Now(); ctx.Err() == nil; time.Sleep(time.Millisecond) {
		elapsed := time.Since(start)
		if granted < n {
			granted = int(min(1, elapsed.Seconds()/warm.Seconds()) * float64(n))
			l.k.grow(granted)
		}
		for due := int(l.rate*elapsed.Seconds()) - done; due > 0 && ctx.Err() == nil; due -= min(due, most) {
			batch = batch[:0]
			for range min(due, most) {
				if i := l.order[next]; int(i) < granted {
					batch = append(batch, i)
				}
				next = (next + 1) % n
			}
			l.k.renew(batch)
			done += min(due, most)
		}
		l.done.Store(int64(done))
	}
}

// expire adds entries that are renewed once and then left to expire, all
// within the plan's spread, and notes when they did.
func expire(ctx context.Context, k keeper, w way, p plan, row *row) error {
	n := p.Expiries
	if w.conns {
		n = min(n, p.Conns)
	}
	type entry struct {
		d     time.Duration
		renew func()
		due   atomic.Int64 // since base: a time that is not after the true deadline
		late  atomic.Int64
		ended atomic.Bool
		void  bool // it can't be told which deadline it expired by
	}
	base := time.Now()
	entries := make([]entry, n)
	var left atomic.Int64
	left.Store(int64(n))
	all := make(chan struct{})
	for i := range entries {
		e := &entries[i]
		// Long enough to be renewed in time, and all different.
		e.d = p.Spread + time.Duration(int64(p.Spread)*int64(i)/int64(n))
		e.due.Store(int64(time.Since(base) + e.d))
		var err error
		e.renew, err = k.fuse(e.d, func() {
			at := int64(time.Since(base))
			if e.ended.Swap(true) {
				return
			}
			e.late.Store(at - e.due.Load())
			if left.Add(-1) == 0 {
				close(all)
			}
		})
		if err != nil {
			return err
		}
	}
	if !pause(ctx, p.Spread/2) {
		return ctx.Err()
	}
	// A renewal is what makes deadlines early or late: a way that got a first
	// deadline right may yet forget about the second.
	for i := range entries {
		e := &entries[i]
		first, now := time.Duration(e.due.Load()), time.Since(base)
		if now > first-p.Spread/4 {
			continue // this program was held up: let it expire as it is
		}
		e.renew()
		e.due.Store(int64(now + e.d))
		e.void = time.Since(base) >= first
	}
	limit := time.NewTimer(2*p.Spread + 10*time.Second)
	defer limit.Stop()
	select {
	case <-all:
	case <-limit.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	var late []float64
	tooSoon, never := 0, 0
	for i := range entries {
		switch e := &entries[i]; {
		case !e.ended.Load():
			never++
		case !e.void:
			ms := time.Duration(e.late.Load()).Seconds() * 1e3
			late = append(late, ms)
			if ms < 0 {
				tooSoon++
			}
		}
	}
	row.add(lost, float64(never))
	row.add(leftOut, float64(n-never-len(late)))
	if len(late) == 0 {
		return errors.New("nothing expired that can be judged")
	}
	slices.Sort(late)
	row.add(early, float64(tooSoon))
	row.add(earliest, max(0, -late[0]))
	row.add(lateP50, late[len(late)/2])
	row.add(lateP99, late[len(late)*99/100])
	row.add(lateMax, late[len(late)-1])
	return nil
}
