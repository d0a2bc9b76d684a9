package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

// churnSettings are for the experiment that repeatedly connects, echoes one message and
// disconnects.
type churnSettings struct {
	Transport string        `json:"transport"`
	Codec     string        `json:"codec"`
	IO        string        `json:"io"`
	Parallel  int           `json:"parallel"` // connections at a time
	For       time.Duration `json:"for_ns"`
}

type churnRow struct {
	Connections int           `json:"connections"`
	PerSecond   rate          `json:"per_second"`
	Failed      int           `json:"failed"`
	ServerCPU   time.Duration `json:"server_cpu_each_ns"`
}

type leftRow struct {
	What   string `json:"what"`
	Before int64  `json:"before"`
	After  int64  `json:"after"`
	Left   int64  `json:"left"`
}

const (
	churnTimeout = 30 * time.Second // the server's policy, which is not what is measured

	// churnWarm is the time for what is made once, with the first connections.
	churnWarm = time.Second / 2

	// churnSettle is how long a server may take to be rid of what has ended: a QUIC
	// connection is remembered for a while.
	churnSettle = 5 * time.Second
)

// churn fails if a connection did, or if descriptors or goroutines are left over
// in the server.
func (l *lab) churn(ctx context.Context, s churnSettings) (*report, error) {
	c := newCrew(ctx, l.stderr)
	defer c.end()
	all := s.For + churnWarm + churnSettle
	l.step(0, "warming up")
	server, err := c.start("the server", order{Serve: &serveTask{Transport: s.Transport, Codec: s.Codec, IO: s.IO, Timeout: churnTimeout, Echo: true}})
	if err != nil {
		return nil, err
	}
	client, err := c.start("the client", order{Churn: &churnTask{Transport: s.Transport, Codec: s.Codec, Parallel: s.Parallel, Addr: server.addr}})
	if err != nil {
		return nil, err
	}
	run := func(d time.Duration) (churnState, error) {
		_, err := client.ask(order{Restart: true})
		if err == nil {
			err = pause(ctx, d)
		}
		if err != nil {
			return churnState{}, err
		}
		a, err := client.ask(order{Stop: true})
		return *a.Churn, err
	}
	if _, err := run(churnWarm); err != nil {
		return nil, err
	}
	before, err := afterAll(ctx, server, nil)
	if err != nil {
		return nil, err
	}
	l.step(float64(churnWarm)/float64(all), "connecting")
	found, err := run(s.For)
	if err != nil {
		return nil, err
	}
	// Garbage collection is part of the cost.
	a, err := server.ask(order{Usage: true})
	if err != nil {
		return nil, err
	}
	cpu := a.Usage.CPU - before.CPU
	l.step(float64(s.For+churnWarm)/float64(all), "settling")
	after, err := afterAll(ctx, server, before)
	if err != nil {
		return nil, err
	}
	left := []leftRow{
		{"descriptors", before.Descriptors, after.Descriptors, after.Descriptors - before.Descriptors},
		{"goroutines", before.Goroutines, after.Goroutines, after.Goroutines - before.Goroutines},
		{"heap bytes", before.Heap, after.Heap, after.Heap - before.Heap},
	}
	row := churnRow{found.Cycles, rate(float64(found.Cycles) / found.Took.Seconds()), found.Failed.sum(), cpu / time.Duration(max(1, found.Cycles))}
	r := newReport("churn", s, table{"Connections", "", []churnRow{row}}, table{"How long it takes", "", found.Latencies},
		table{"What is left over in the server", "", left})
	switch {
	case row.Failed > 0:
		err = fmt.Errorf("%d connections failed: %s", row.Failed, found.Failed.most())
	case row.Connections == 0:
		err = errors.New("not one connection was made")
	case left[0].Left > 0 || left[1].Left > 0:
		err = fmt.Errorf("%d descriptors and %d goroutines are left over", left[0].Left, left[1].Left)
	}
	return r, err
}

// afterAll is the usage of a server without connections, and once it has no more
// descriptors and goroutines than before, if it had time enough for that.
func afterAll(ctx context.Context, server *worker, before *usage) (*usage, error) {
	for began := time.Now(); ; {
		a, err := server.ask(order{Tidy: true, Usage: true})
		if err != nil {
			return nil, err
		}
		clean := a.Server.Live == 0 && (before == nil || a.Usage.Descriptors <= before.Descriptors && a.Usage.Goroutines <= before.Goroutines)
		if took := time.Since(began); clean && took > churnSettle/20 || took > churnSettle {
			return a.Usage, nil
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// A churnTask makes a worker a client that churns.
type churnTask struct {
	Addr      string
	Transport string
	Codec     string
	Parallel  int
	Pause     time.Duration // of each of them, after a connection
}

// A churnState is what was measured from Restart to Stop.
type churnState struct {
	Took      time.Duration
	Cycles    int
	Failed    tally // by error
	Latencies []latencyRow
}

// A churner is the role of a worker that churns.
type churner struct {
	task  churnTask
	live  liveness.Client
	over  transport.Transport
	quit  chan struct{}
	loops sync.WaitGroup

	mu        sync.Mutex
	began     time.Time
	done      bool // nothing counts any more
	state     churnState
	latencies [len(phases)]*latency
}

var phases = [...]string{"connect", "echo", "close", "all"}

func newChurner(t churnTask) (role, error) {
	code, err := codec.ByName(t.Codec)
	if err != nil {
		return nil, err
	}
	over, err := dialling(t.Transport, churnTimeout)
	return &churner{task: t, live: liveness.Client{Codec: code}, over: over}, err
}

func (c *churner) obey(o order, a *answer) error {
	if o.Stop {
		a.Churn = c.take(true)
		close(c.quit)
		c.loops.Wait() // connections that hang fail by their timeout
		c.mu.Lock()
		a.Churn.Failed = maps.Clone(c.state.Failed)
		c.mu.Unlock()
		c.quit = nil
	}
	if !o.Restart {
		return nil
	}
	if c.quit != nil {
		a.Churn = c.take(false)
	}
	c.mu.Lock()
	c.began, c.done, c.state = time.Now(), false, churnState{Failed: make(tally)}
	for i := range c.latencies {
		c.latencies[i] = newLatency()
	}
	c.mu.Unlock()
	if c.quit == nil {
		c.quit = make(chan struct{})
		for range c.task.Parallel {
			c.loops.Go(func() { c.loop(c.quit) })
		}
	}
	return nil
}

// take is what was measured by now.
func (c *churner) take(last bool) *churnState {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = last
	s := c.state
	s.Took, s.Failed = time.Since(c.began), maps.Clone(s.Failed)
	for i, l := range c.latencies {
		s.Latencies = append(s.Latencies, l.row(phases[i]))
	}
	return &s
}

func (c *churner) loop(quit <-chan struct{}) {
	for {
		took, err := c.cycle()
		wait := c.task.Pause
		c.mu.Lock()
		if err != nil {
			c.state.Failed[cause(err)]++
			wait = 20 * time.Millisecond // it won't be better at once
		} else if !c.done {
			c.state.Cycles++
			for i, d := range took {
				c.latencies[i].record(d)
			}
		}
		c.mu.Unlock()
		time.Sleep(wait)
		select {
		case <-quit:
			return
		default:
		}
	}
}

var churnMessage = []byte("is anybody there")

// cycle is one connection, from dial to close.
func (c *churner) cycle() (took [len(phases)]time.Duration, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTime)
	defer cancel()
	began := time.Now()
	conn, err := c.live.Dial(ctx, c.over, c.task.Addr)
	if err != nil {
		return took, err
	}
	defer conn.Close()
	took[0] = time.Since(began)
	conn.SetDeadline(time.Now().Add(dialTime))
	if _, err := conn.Write(churnMessage); err != nil {
		return took, err
	}
	got := make([]byte, len(churnMessage))
	if _, err := io.ReadFull(conn, got); err != nil {
		return took, err
	}
	if string(got) != string(churnMessage) {
		return took, fmt.Errorf("the echo is %q", got)
	}
	took[1] = time.Since(began) - took[0]
	conn.Close()
	took[3] = time.Since(began)
	took[2] = took[3] - took[0] - took[1]
	return took, nil
}

// A latency is the distribution of a time: to three digits, up to a minute.
type latency struct{ h *hdrhistogram.Histogram }

// A latencyRow is some of its quantiles.
type latencyRow struct {
	What string        `json:"what"`
	P50  time.Duration `json:"p50_ns"`
	P90  time.Duration `json:"p90_ns"`
	P99  time.Duration `json:"p99_ns"`
	P999 time.Duration `json:"p999_ns"`
	Max  time.Duration `json:"max_ns"`
}

func newLatency() *latency { return &latency{hdrhistogram.New(1, int64(time.Minute), 3)} }

func (l *latency) record(d time.Duration) {
	l.h.RecordValue(int64(min(max(d, 0), time.Minute))) // in range, so there is no error
}

func (l *latency) row(what string) latencyRow {
	at := func(percent float64) time.Duration { return time.Duration(l.h.ValueAtQuantile(percent)) }
	return latencyRow{what, at(50), at(90), at(99), at(99.9), at(100)}
}
