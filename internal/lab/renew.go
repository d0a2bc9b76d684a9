package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// renewSettings are for many deadlines that move, in each of several implementations.
type renewSettings struct {
	Entries  int           `json:"entries"`
	Conns    int           `json:"conns"` // entries where each takes a connection
	Timeout  time.Duration `json:"timeout_ns"`
	Renewals int           `json:"renewals"` // timed one after the other
	Rate     int           `json:"rate"`     // renewals a second, as a load
	Window   time.Duration `json:"window_ns"`
	Settle   time.Duration `json:"settle_ns"` // before it
	Expiries int           `json:"expiries"`  // entries beside that are left to expire
	Spread   time.Duration `json:"spread_ns"` // the time within which they do
	Stalled  bool          `json:"stalled,omitempty"`

	match *regexp.Regexp
}

// A renewRow is one way. A load is what a busy server does: Rate renewals a
// second, in random order, while Expiries entries expire.
type renewRow struct {
	Way      string        `json:"way"`
	Entries  int           `json:"entries"`
	One      nanos         `json:"one_ns,omitzero"`    // a renewal of one entry, again and again
	Random   nanos         `json:"random_ns,omitzero"` // of random entries
	Allocs   int           `json:"allocs"`             // likewise
	Bytes    byteCount     `json:"entry_bytes,omitzero"`
	Loaded   byteCount     `json:"loaded_bytes,omitzero"` // per entry, after the load
	Core     percent       `json:"load_percent,omitzero"` // of a core, above the bare loop
	Kept     ratio         `json:"kept,omitzero"`         // of the load's renewals that were made
	Early    int           `json:"early"`
	Earliest time.Duration `json:"earliest_ns,omitzero"`
	P50      time.Duration `json:"late_p50_ns,omitzero"`
	P99      time.Duration `json:"late_p99_ns,omitzero"`
	Max      time.Duration `json:"late_max_ns,omitzero"`
	Never    int           `json:"never"`    // expired
	LeftOut  int           `json:"left_out"` // expired by nobody knows which deadline

	way way
}

// renew fails if a lease expired early, or never.
func (l *lab) renew(ctx context.Context, s renewSettings) (*report, error) {
	rows, err := l.renewAll(ctx, s)
	note := "A load is the processor time of the process at the rate of renewals, above the bare loop that makes them. " +
		"Late is the callback, against the moment before the last renewal."
	return newReport("renew", s, table{"Deadlines", note, rows}), err
}

func (l *lab) renewAll(ctx context.Context, s renewSettings) ([]renewRow, error) {
	var rows []renewRow
	var errs []error
	loop := percent(0)
	for i, w := range ways {
		// The bare loop is what the others are compared with.
		if w.name != bareLoop && s.match != nil && !s.match.MatchString(w.name) {
			continue
		}
		row := renewRow{Way: w.name, Entries: s.Entries, way: w}
		if w.conns {
			row.Entries = s.Conns
		}
		l.step(float64(i)/float64(len(ways)), "%s: %d renewals", w.name, s.Renewals)
		err := timeRenewals(w, s, &row)
		if err == nil {
			l.step((float64(i)+0.2)/float64(len(ways)), "%s: %d renewals a second", w.name, s.Rate)
			err = loadRenewals(ctx, w, s, &row)
		}
		if ctx.Err() != nil {
			return rows, ctx.Err()
		}
		switch {
		case err != nil:
		case w.name == bareLoop:
			loop = row.Core
		default:
			row.Core -= loop
			if w.ours && row.Early+row.Never > 0 {
				err = fmt.Errorf("%d expired early, by up to %v, and %d never", row.Early, row.Earliest, row.Never)
			}
		}
		rows = append(rows, row)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", w.name, err))
		}
	}
	return rows, errors.Join(errs...)
}

// timeRenewals renews one entry again and again, and random ones.
func timeRenewals(w way, s renewSettings, row *renewRow) error {
	debug.FreeOSMemory() // garbage of the previous implementation
	k, err := w.open(s)
	if err != nil {
		return err
	}
	defer k.close()
	order := make([]uint32, s.Renewals)
	before := heap()
	k.grow(row.Entries)
	if w.weighed() {
		row.Bytes = byteCount(float64(heap()-before) / float64(row.Entries))
	}
	k.renew(order[:len(order)/8])
	row.One, _ = timed(k, order)
	for i := range order {
		order[i] = rand.Uint32N(uint32(row.Entries))
	}
	k.renew(order[:len(order)/8]) // the caches are as warm as they get
	row.Random, row.Allocs = timed(k, order)
	return nil
}

// timed is the time of one renewal, and its allocations.
func timed(k keeper, order []uint32) (nanos, int) {
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	start := time.Now()
	k.renew(order)
	took := time.Since(start)
	runtime.ReadMemStats(&m1)
	return nanos(float64(took) / float64(len(order))), int(m1.Mallocs-m0.Mallocs) / len(order)
}

// loadRenewals renews at the rate, takes the processor time of all of it, and has
// some entries expire meanwhile.
//
// Deferred work has to count. So the entries are granted over the length of their timeout, and
// measuring begins after that: by then, implementations that process an entry again at its first
// deadline do as much of that as they ever will.
func loadRenewals(ctx context.Context, w way, s renewSettings, row *renewRow) error {
	debug.FreeOSMemory()
	k, err := w.open(s)
	if err != nil {
		return err
	}
	defer k.close()
	l := newRenewer(k, row.Entries, s.Rate)
	before := heap()
	warm := s.Timeout
	if w.name == bareLoop {
		warm = min(warm, time.Second) // no work is deferred
	}
	loading, cancel := context.WithCancel(ctx)
	var loop sync.WaitGroup
	loop.Go(func() { l.run(loading, warm) })
	defer loop.Wait()
	defer cancel()
	if err := pause(ctx, warm+s.Settle); err != nil {
		return err
	}
	done, start, used := l.done.Load(), time.Now(), processCPU()
	if err := pause(ctx, s.Window); err != nil {
		return err
	}
	used = processCPU() - used
	took := time.Since(start).Seconds()
	row.Core = percent(100 * used.Seconds() / took)
	row.Kept = ratio(float64(l.done.Load()-done) / took / float64(s.Rate))
	if w.weighed() {
		row.Loaded = byteCount(float64(heap()-before) / float64(row.Entries))
	}
	if w.name == bareLoop {
		return nil
	}
	if k, ok := k.(*leases); ok && s.Stalled {
		defer k.stall(s.Spread)()
	}
	return expire(ctx, k, w, s, row)
}

// A renewer renews at a rate: every entry in its turn, in random order, so that
// none is left to expire.
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

// run grants all entries, spread over warm, and renews those there are until ctx
// ends.
func (l *renewer) run(ctx context.Context, warm time.Duration) {
	const most = 1000 // in one batch
	n := len(l.order)
	granted, next, done := 0, 0, 0
	batch := make([]uint32, 0, most)
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

// An expiring entry is renewed once, and then left to expire.
type expiring struct {
	timeout time.Duration
	renew   func()
	due     atomic.Int64 // on the experiment's clock: not after the true deadline
	late    atomic.Int64
	ended   atomic.Bool
	void    bool // nobody knows by which deadline it expired
}

// expire adds entries that expire, all within the spread, and notes when they do.
func expire(ctx context.Context, k keeper, w way, s renewSettings, row *renewRow) error {
	n := s.Expiries
	if w.conns {
		n = min(n, s.Conns)
	}
	base := time.Now()
	entries := make([]expiring, n)
	var ended atomic.Int64
	all := make(chan struct{})
	for i := range entries {
		e := &entries[i]
		// Long enough to be renewed in time, and all different.
		e.timeout = s.Spread + time.Duration(int64(s.Spread)*int64(i)/int64(n))
		e.due.Store(int64(time.Since(base) + e.timeout))
		var err error
		e.renew, err = k.fuse(e.timeout, func() {
			at := int64(time.Since(base))
			if e.ended.Swap(true) {
				return
			}
			e.late.Store(at - e.due.Load())
			if ended.Add(1) == int64(n) {
				close(all)
			}
		})
		if err != nil {
			return err
		}
	}
	if err := pause(ctx, s.Spread/2); err != nil {
		return err
	}
	// A renewal is what makes deadlines early or late: a way that got the first one
	// right may yet forget about the second.
	for i := range entries {
		e := &entries[i]
		first, now := time.Duration(e.due.Load()), time.Since(base)
		if now > first-s.Spread/4 {
			continue // this program was held up: let it expire as it is
		}
		e.renew()
		e.due.Store(int64(now + e.timeout))
		e.void = time.Since(base) >= first
	}
	select {
	case <-all:
	case <-time.After(2*s.Spread + 10*time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	return row.judge(entries)
}

func (r *renewRow) judge(entries []expiring) error {
	var late []time.Duration
	for i := range entries {
		switch e := &entries[i]; {
		case !e.ended.Load():
			r.Never++
		case e.void:
			r.LeftOut++
		default:
			late = append(late, time.Duration(e.late.Load()))
			if e.late.Load() < 0 {
				r.Early++
			}
		}
	}
	if len(late) == 0 {
		return errors.New("nothing expired that can be judged")
	}
	slices.Sort(late)
	r.Earliest = max(0, -late[0])
	r.P50, r.P99, r.Max = quantile(late, 0.5), quantile(late, 0.99), quantile(late, 1)
	return nil
}
