package load

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	"github.com/livenet/livenet/internal/bench"
)

// A Churn connects, has one message echoed and disconnects, many times over,
// and looks what that has left behind in the server.
type Churn struct {
	Transport string
	Codec     string
	For       time.Duration
	Parallel  int // connections at a time

	// IO is what waits for what a session sends next: [Goroutine], [Blocking], or [Parked] if
	// the transport parks.
	IO string

	// Command is a process, still to be started, whose main is [Work].
	Command func() *exec.Cmd
}

// Shape is what the run asks the machine for.
func (c *Churn) Shape() Shape {
	return Shape{Transport: c.Transport, Codec: c.Codec, IO: c.IO, Sessions: c.Parallel, Servers: 1, Clients: 1, Flag: FlagParallel}
}

// Run churns. It fails with a [*LimitError], and has done nothing, if so many
// connections at a time don't fit this machine.
func (c *Churn) Run(ctx context.Context, p bench.Progress) (*bench.Report, error) {
	if _, err := admit(c.Shape()); err != nil {
		return nil, err
	}
	r := &churnRun{Churn: c, progress: p, fleet: newFleet(c.Command)}
	err := r.run(ctx)
	r.fleet.end()
	if failed := r.churned.Failed; err == nil && sum(failed) > 0 {
		err = fmt.Errorf("%d of %d connections failed: %s", sum(failed), sum(failed)+r.churned.Cycles, mostly(failed))
	}
	return r.report(), err
}

// A churnRun is a Churn under way.
type churnRun struct {
	*Churn
	progress bench.Progress
	fleet    *fleet
	server   *hand
	client   *hand

	churned       churning
	cpu           usage // of the server, during that
	before, after usage // of the server
	settled       bool  // after is there
}

const (
	// warmUp is for what is made once, with the first connections, and is not
	// to be taken for something that they have left behind.
	warmUp = time.Second

	// settleTime is how long a server may take to be rid of what has ended. A
	// QUIC connection, for instance, is remembered for a while.
	settleTime = 5 * time.Second

	// churnTimeout is the server's policy, which is not what is measured.
	churnTimeout = 30 * time.Second

	// churnSources is how many addresses the connections come from: the ends of
	// a minute's connections all wait in TIME_WAIT, each with a port.
	churnSources = 256
)

func (r *churnRun) step(done time.Duration, what string) {
	all := r.For + warmUp + settleTime
	r.progress.Step(what, min(done, all).Seconds(), all.Seconds())
}

func (r *churnRun) run(ctx context.Context) error {
	r.step(0, "warming up")
	if err := r.start(ctx); err != nil {
		return err
	}
	err := pause(ctx, warmUp)
	if err == nil {
		err = r.baseline(ctx)
	}
	if err != nil {
		return err
	}
	interrupted := r.churn(ctx)
	if interrupted != nil && ctx.Err() == nil {
		return interrupted
	}
	// Who interrupts wants to know what there is by now.
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), measureTime)
	defer cancel()
	if err := r.leftOver(within); err != nil {
		return err
	}
	return interrupted
}

// start starts both processes; the client begins at once.
func (r *churnRun) start(ctx context.Context) (err error) {
	identity, err := newIdentity(r.Transport)
	if err != nil {
		return err
	}
	r.server, err = r.fleet.start("the server", order{Serve: &serveOrder{
		Transport: r.Transport, Codec: r.Codec, Timeout: churnTimeout, Echo: true, IO: r.IO, Listen: "127.0.0.1:0", Identity: identity,
	}})
	if err != nil {
		return err
	}
	if err := r.fleet.awaitReady(ctx, []*hand{r.server}); err != nil {
		return err
	}
	return r.startClient(ctx)
}

func (r *churnRun) startClient(ctx context.Context) (err error) {
	r.client, err = r.fleet.start("the client", order{Churn: &churnOrder{
		Transport: r.Transport, Codec: r.Codec, Parallel: r.Parallel, Timeout: churnTimeout,
		Sources: Sources{0, churnSources}, Server: r.server.served,
	}})
	if err != nil {
		return err
	}
	return r.fleet.awaitReady(ctx, []*hand{r.client})
}

// baseline ends the warming up, takes the server's figures without a
// connection, and begins anew.
func (r *churnRun) baseline(ctx context.Context) error {
	if err := r.fleet.ask(ctx, []*hand{r.client}, reportOrder{Stop: true}); err != nil {
		return err
	}
	if err := r.idle(ctx, nil); err != nil {
		return err
	}
	r.before = r.server.usage
	return r.fleet.ask(ctx, []*hand{r.client}, reportOrder{Restart: true, Resume: true})
}

// idle waits for a fifth of settleTime at least, until the server holds no connection
// and, if before is given, has no more than it had then; or until it had time
// enough for that.
func (r *churnRun) idle(ctx context.Context, before *usage) error {
	for began := time.Now(); ; {
		if err := r.fleet.ask(ctx, []*hand{r.server}, reportOrder{Tidied: true, Counted: true}); err != nil {
			return err
		}
		u := r.server.usage
		clean := r.server.server.Live == 0
		if before != nil {
			clean = clean && u.Descriptors <= before.Descriptors && u.Goroutines <= before.Goroutines
		}
		if elapsed := time.Since(began); clean && elapsed > settleTime/5 || elapsed > settleTime {
			return nil
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// churn lets the client go on for as long as was asked.
func (r *churnRun) churn(ctx context.Context) error {
	both := []*hand{r.server, r.client}
	if err := r.fleet.ask(ctx, both, reportOrder{}); err != nil {
		return err
	}
	cpu := r.server.usage.CPU
	began := time.Now()
	var err error
	for err == nil {
		elapsed := time.Since(began)
		r.step(warmUp+elapsed, fmt.Sprintf("%d connections", r.client.churn.Cycles))
		if elapsed >= r.For {
			break
		}
		if err = pause(ctx, min(time.Second/4, r.For-elapsed)); err == nil {
			err = r.fleet.ask(ctx, []*hand{r.client}, reportOrder{})
		}
	}
	if err != nil && ctx.Err() == nil {
		return err
	}
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), measureTime)
	defer cancel()
	// A connection that hangs is waited for.
	if failed := r.fleet.ask(within, both, reportOrder{Stop: true, Restart: true}); failed != nil {
		return failed
	}
	r.churned = r.client.churn
	r.cpu = r.server.usage
	r.cpu.CPU -= cpu
	return err
}

// leftOver takes the server's figures when all is over.
func (r *churnRun) leftOver(ctx context.Context) error {
	r.step(warmUp+r.For, "settling")
	if err := r.idle(ctx, &r.before); err != nil {
		return err
	}
	r.after, r.settled = r.server.usage, true
	return nil
}

func (r *churnRun) report() *bench.Report {
	rep := &bench.Report{Bench: "churn", Settings: []bench.Field{
		setting("transport", r.Transport),
		setting("codec", r.Codec),
		setting("io", r.IO),
		setting("parallel", r.Parallel),
		setting("for", r.For),
	}}
	rep.Tables = []*bench.Table{r.cyclesTable(), r.latencyTable(), r.leftOverTable(),
		tableOf("failed", "Connections that failed", "error", "connections", r.churned.Failed)}
	return rep
}

func (r *churnRun) cyclesTable() *bench.Table {
	t := &bench.Table{Key: "rows", Columns: []bench.Column{
		{Head: "connections", Key: "connections", Kind: bench.Count},
		{Head: "a second", Key: "connections_per_s", Kind: bench.Count},
		{Head: "failed", Key: "failed", Kind: bench.Count},
		{Head: "server CPU each", Key: "server_cpu_us_per_connection", Kind: bench.Micros},
	}}
	if r.churned.For == 0 {
		return t
	}
	n := r.churned.Cycles
	t.Add(n, float64(n)/r.churned.For.Seconds(), sum(r.churned.Failed),
		or(n > 0, time.Duration(r.cpu.CPU/int64(max(n, 1)))))
	return t
}

func (r *churnRun) latencyTable() *bench.Table {
	t := &bench.Table{Key: "latency", Title: "How long it takes", Columns: append(
		[]bench.Column{{Head: "", Key: "what", Kind: bench.Text}}, bench.Quantiles(false)...)}
	for _, l := range r.churned.Latencies {
		row := []any{l.What}
		for _, d := range l.Values {
			row = append(row, d)
		}
		t.Add(row...)
	}
	return t
}

// leftOverTable is what the server has more than before, with no connection
// either time.
func (r *churnRun) leftOverTable() *bench.Table {
	t := &bench.Table{Key: "left_over", Title: "What is left over in the server", Columns: []bench.Column{
		{Head: "", Key: "what", Kind: bench.Text},
		{Head: "before", Key: "before", Kind: bench.Count},
		{Head: "after", Key: "after", Kind: bench.Count},
		{Head: "left", Key: "left", Kind: bench.Count},
		{Head: "per connection", Key: "left_per_connection", Kind: bench.Number},
	}}
	if !r.settled {
		return t
	}
	add := func(of string, before, after int64) {
		left := after - before
		t.Add(of, before, after, left, or(r.churned.Cycles > 0, float64(left)/float64(max(r.churned.Cycles, 1))))
	}
	add("descriptors", r.before.Descriptors, r.after.Descriptors)
	add("goroutines", r.before.Goroutines, r.after.Goroutines)
	add("heap-bytes", r.before.Heap, r.after.Heap)
	return t
}
