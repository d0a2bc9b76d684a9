package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livenet/livenet/liveness"
)

// failSettings are for very many sessions that lose their peers at one instant.
type failSettings struct {
	Transport  string        `json:"transport"` // or leases: an engine alone
	IO         string        `json:"io"`
	Sessions   int           `json:"sessions"`
	Neighbours int           `json:"neighbours"` // sessions that go on beating
	Timeout    time.Duration `json:"timeout_ns"`
	Beat       time.Duration `json:"beat_ns"`
	Slow       time.Duration `json:"slow_ns"`  // a slow receiver of events takes for each
	Usual      time.Duration `json:"usual_ns"` // that connecting is measured when nothing is amiss
}

// The ways to fail, one after another.
const (
	failSilent = "silent" // the peers beat once more, all at once, and then no more
	failSlow   = "slow"   // likewise, and the receiver of events is slow
	failKilled = "killed" // the peers' process is killed, and the kernel ends its connections
)

var failWays = []string{failSilent, failSlow, failKilled}

// failLeases stands for no transport.
const failLeases = "leases"

// failCodec is one in which opening a session takes the server's answer.
const failCodec = "frame"

type failRow struct {
	Peers      string        `json:"peers"`
	Told       int           `json:"ends_told"`
	Last       time.Duration `json:"last_after_ns"` // after the end was due
	PerSecond  rate          `json:"per_second"`
	Decided    time.Duration `json:"decided_late_ns"`
	Closed     time.Duration `json:"closed_late_ns"`
	Lost       int           `json:"neighbours_lost"`
	HeapBefore byteCount     `json:"heap_before_bytes"`
	HeapMost   byteCount     `json:"heap_at_most_bytes"`
	LogLines   int64         `json:"log_lines"`
}

// A connectRow is the result of the clients that connected meanwhile.
type connectRow struct {
	Peers     string `json:"peers"`
	When      string `json:"when"`
	PerSecond rate   `json:"per_second"`
	Failed    int    `json:"failed"`
	latencyRow
}

const (
	// probers is how many clients connect at a time. They pause after each connection, so
	// that they measure the server's load and add little to it.
	probers     = 4
	proberPause = 10 * time.Millisecond

	ahead = 200 * time.Millisecond // of the ends, measuring begins

	// failTime is the longest time without an event, besides what a slow receiver takes.
	failTime = 30 * time.Second
)

// fail fails if an end did not have exactly one event, was early, or if another session ended
// or a client could not connect.
func (l *lab) fail(ctx context.Context, s failSettings) (*report, error) {
	if s.Transport == failLeases {
		return l.failOfLeases(ctx, s)
	}
	if err := fits(s.Sessions + s.Neighbours); err != nil {
		return nil, err
	}
	var rows []failRow
	var connects []connectRow
	var err error
	for i, way := range failWays {
		r := &failure{lab: l, failSettings: s, way: way, base: float64(i) / float64(len(failWays))}
		if err = r.run(ctx); err != nil {
			err = fmt.Errorf("%s: %w", way, err)
		}
		if r.row.Told > 0 {
			rows, connects = append(rows, r.row), append(connects, r.connects...)
		}
		if err != nil {
			break
		}
	}
	return newReport("fail", s, table{"Ends", "", rows}, table{"Connecting", "", connects}), err
}

// A failure is one way to fail, under way.
type failure struct {
	*lab
	failSettings
	way  string
	base float64 // of the progress

	server, victims, neighbours, prober *worker

	row      failRow
	connects []connectRow
}

func (r *failure) show(share float64, what string) {
	r.step(r.base+share/float64(len(failWays)), "%s: %s", r.way, what)
}

func (r *failure) run(ctx context.Context) error {
	c := newCrew(ctx, r.stderr)
	defer c.end()
	r.show(0, "connecting")
	if err := r.start(c); err != nil {
		return err
	}
	if err := r.connect(ctx); err != nil {
		return err
	}
	r.show(0.3, "what is usual")
	if _, err := r.server.ask(order{Mark: true}); err != nil {
		return err
	}
	var err error
	r.prober, err = c.start("the prober", order{Churn: &churnTask{
		Transport: r.Transport, Codec: failCodec, Parallel: probers, Pause: proberPause, Addr: r.server.addr,
	}})
	if err != nil {
		return err
	}
	for _, warm := range []bool{true, false} {
		if err := r.probe(""); err != nil {
			return err
		}
		d := r.Usual
		if warm {
			d /= 4
		}
		if err := pause(ctx, d); err != nil {
			return err
		}
	}
	if err := r.probe("usual"); err != nil {
		return err
	}
	r.show(0.6, "failing")
	due, err := r.breakAll(ctx)
	if err != nil {
		return err
	}
	if err := r.await(ctx, due); err != nil {
		return err
	}
	// What happens after the last end is measured as well.
	if err := pause(ctx, r.Usual/2); err != nil {
		return err
	}
	a, err := r.prober.ask(order{Stop: true})
	if err != nil {
		return err
	}
	r.connected("meanwhile", a.Churn)
	return r.judge(due)
}

func (r *failure) start(c *crew) (err error) {
	serve := serveTask{Transport: r.Transport, Codec: failCodec, IO: r.IO, Timeout: r.Timeout, Echo: true}
	if r.way == failSlow {
		serve.Slow = r.Slow
	}
	if r.server, err = c.start("the server", order{Serve: &serve}); err != nil {
		return err
	}
	dial := dialTask{Transport: r.Transport, Codec: failCodec, Addr: r.server.addr, Sessions: r.Sessions, Beat: r.Beat, Timeout: r.Timeout, Judge: unjudged, Sockets: true}
	if r.victims, err = c.start("the victims", order{Dial: &dial}); err != nil {
		return err
	}
	dial.Sessions = r.Neighbours
	r.neighbours, err = c.start("the neighbours", order{Dial: &dial})
	return err
}

// connect opens the victims' sessions and then the neighbours', whose server has
// the victims' as well.
func (r *failure) connect(ctx context.Context) error {
	for _, p := range []pair{{r.server, r.victims, r.Sessions}, {r.server, r.neighbours, r.Neighbours}} {
		if err := p.open(p.sessions, func(int) {}); err != nil {
			return err
		}
	}
	if _, err := r.server.ask(order{Await: r.Sessions + r.Neighbours}); err != nil {
		return err
	}
	return pause(ctx, r.Beat)
}

// probe takes what the prober has measured since the last time.
func (r *failure) probe(when string) error {
	a, err := r.prober.ask(order{Restart: true})
	if err == nil && when != "" {
		r.connected(when, a.Churn)
	}
	return err
}

func (r *failure) connected(when string, c *churnState) {
	row := connectRow{r.way, when, rate(float64(c.Cycles) / c.Took.Seconds()), c.Failed.sum(), c.Latencies[0]}
	r.connects = append(r.connects, row)
}

// breakAll breaks the connections, or what keeps them alive, and returns when the
// last of them is due to end.
func (r *failure) breakAll(ctx context.Context) (due time.Time, err error) {
	if r.way == failKilled {
		if err := r.probe(""); err != nil {
			return due, err
		}
		if err := r.victims.cmd.Process.Kill(); err != nil {
			return due, err
		}
		if r.Transport != "quic" {
			return time.Now(), nil
		}
		return time.Now().Add(r.Timeout), nil // nobody tells the server
	}
	if _, err := r.victims.ask(order{Silence: &silence{N: r.Sessions, Beat: true}}); err != nil {
		return due, err
	}
	due = time.Now().Add(r.Timeout)
	if err := pause(ctx, r.Timeout-ahead); err != nil {
		return due, err
	}
	return due, r.probe("")
}

// await waits until the server has reported all ends.
func (r *failure) await(ctx context.Context, due time.Time) error {
	told, since := 0, due // how many, and since when no more
	for told < r.Sessions && time.Since(since) < failTime+r.Slow {
		a, err := r.server.ask(order{})
		if err != nil {
			return err
		}
		if n := a.Server.Ends.Told; n > told {
			told, since = n, time.Now()
		}
		r.show(0.6+0.4*float64(told)/float64(r.Sessions), fmt.Sprintf("%d of %d have ended", told, r.Sessions))
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// judge fills the row and returns an error for a broken promise.
func (r *failure) judge(due time.Time) error {
	a, err := r.server.ask(order{})
	if err != nil {
		return err
	}
	n, err := r.neighbours.ask(order{})
	if err != nil {
		return err
	}
	early := 0
	if r.way != failKilled {
		v, err := r.victims.ask(order{})
		if err != nil {
			return err
		}
		early = v.Client.FalseKills
	}
	e := a.Server.Ends
	took := time.Duration(e.Last - e.First)
	r.row = failRow{
		Peers: r.way, Told: e.Told, Last: max(0, time.Unix(0, e.Last).Sub(due)), PerSecond: rate(float64(e.Told) / max(took, time.Millisecond).Seconds()),
		Lost: n.Client.Lost, HeapBefore: byteCount(e.Base), HeapMost: byteCount(e.Peak), LogLines: e.LogLines,
	}
	if e.Decided > 0 {
		r.row.Decided, r.row.Closed = e.Decided, e.Closed
	}
	failed, idle := 0, false
	for _, c := range r.connects {
		failed += c.Failed
		idle = idle || c.PerSecond == 0
	}
	switch {
	case n.Client.Lost > 0:
		return fmt.Errorf("%d of %d neighbours were lost", n.Client.Lost, r.Neighbours)
	case early > 0:
		return fmt.Errorf("%d of %d sessions were ended before their time", early, r.Sessions)
	case e.Told != r.Sessions:
		return fmt.Errorf("%d of %d ends were told of", e.Told, r.Sessions)
	case e.Again > 0:
		return fmt.Errorf("%d ends were told of again", e.Again)
	case failed > 0:
		return fmt.Errorf("%d connections failed meanwhile", failed)
	case idle:
		return errors.New("nobody could connect")
	}
	return nil
}

// A leaseRow is of leases that are all due at one instant.
type leaseRow struct {
	Leases  int           `json:"leases"`
	Decided time.Duration `json:"decided_late_ns"`
	Ended   time.Duration `json:"last_after_ns"` // until the last end was handed over
	Early   int           `json:"early"`
	Grown   byteCount     `json:"heap_grown_each_bytes"`
	Lost    int           `json:"neighbours_lost"`
}

// failOfLeases has the leases of an engine all fall due in one instant, while
// neighbours are renewed.
func (l *lab) failOfLeases(ctx context.Context, s failSettings) (*report, error) {
	engine := new(liveness.Engine)
	var lost, early, ended atomic.Int64
	alive := make([]*liveness.Lease, s.Neighbours)
	for i := range alive {
		alive[i] = engine.Grant(liveness.Sliding(s.Timeout), func(*liveness.Error) { lost.Add(1) })
		defer alive[i].Release()
	}
	beating, stop := context.WithCancel(ctx)
	var beats sync.WaitGroup
	beats.Go(func() {
		for pause(beating, s.Beat) == nil {
			for _, lease := range alive {
				lease.Renew()
			}
		}
	})
	defer beats.Wait()
	defer stop()
	l.step(0, "granting %d leases", s.Sessions)
	// Granting takes up to four microseconds each.
	due := time.Now().Add(s.Timeout + 4*time.Microsecond*time.Duration(s.Sessions))
	done := make(chan struct{})
	for range s.Sessions {
		engine.Grant(liveness.Fixed(time.Until(due)), func(*liveness.Error) {
			if time.Now().Before(due) {
				early.Add(1)
			}
			if ended.Add(1) == int64(s.Sessions) {
				close(done)
			}
		})
	}
	before := heap()
	if time.Now().After(due) {
		return nil, fmt.Errorf("granting %d leases took too long", s.Sessions)
	}
	most := before
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	limit := time.After(time.Until(due) + failTime)
	for waiting := true; waiting; {
		select {
		case <-look.C:
			most = max(most, heapInUse())
		case <-done:
			waiting = false
		case <-limit:
			return nil, fmt.Errorf("%d of %d leases ended", ended.Load(), s.Sessions)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	last := time.Since(due)
	if err := pause(ctx, s.Timeout); err != nil { // by then a neighbour that was not renewed has expired
		return nil, err
	}
	row := leaseRow{s.Sessions, engine.Stats().LateMax, last, int(early.Load()), byteCount(float64(most-before) / float64(s.Sessions)), int(lost.Load())}
	var err error
	if row.Early+row.Lost > 0 {
		err = fmt.Errorf("%d leases ended early, and %d neighbours were lost", row.Early, row.Lost)
	}
	return newReport("fail", s, table{"Leases that are due at one instant", "", []leaseRow{row}}), err
}
