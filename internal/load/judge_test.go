package load

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport/transporttest"
)

// Ends that the servers know of count, though no client has heard of them.
func TestHoldJudgesTheServersWord(t *testing.T) {
	server := &hand{server: serving{Closed: map[string]int{"silent": 1}}}
	r := holdRun{Hold: &Hold{Sessions: 3}, crew: &crew{servers: []*hand{server}, tally: tally{connected: 3}}}
	if err := r.judge(); err == nil || err.Error() != "the servers ended 1 of 3 sessions: silent" {
		t.Errorf("got %v", err)
	}
	server.server.Closed["silent"] = 0
	if err := r.judge(); err != nil {
		t.Error(err)
	}
}

// A neighbour that is lost is told of as well, and is what matters.
func TestFailJudges(t *testing.T) {
	for want, f := range map[string]*failure{
		"":                                     {way: FailSlow, ends: endings{Told: 50}},
		"slow: 1 of 9 neighbours were lost":    {way: FailSlow, ends: endings{Told: 51}, neighbours: 1},
		"slow: 49 of 50 ends were told of":     {way: FailSlow, ends: endings{Told: 49}},
		"slow: 2 ends were told of again":      {way: FailSlow, ends: endings{Told: 50, Again: 2}},
		"slow: 3 connections failed meanwhile": {way: FailSlow, ends: endings{Told: 50}, meantime: churning{Failed: map[string]int{"x": 3}}},
	} {
		r := failRun{Fail: &Fail{Sessions: 50, Neighbours: 9}, failures: []*failure{f}}
		got := ""
		if err := r.judge(); err != nil {
			got = err.Error()
		}
		if want != got && want+": x" != got {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// What ends when the time is up does not count.
func TestChurnCountsWhatWasInTime(t *testing.T) {
	let := make(chan struct{})
	asked := make(chan struct{}, 10)
	memory := new(transporttest.Memory)
	l, err := memory.Listen(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	srv := &liveness.Server{
		Config: liveness.Config{Policy: liveness.Sliding(time.Hour), Engine: new(liveness.Engine)},
		Handler: func(_ context.Context, c *liveness.Conn) {
			buf := make([]byte, 64)
			n, err := c.Read(buf)
			asked <- struct{}{}
			<-let
			if err == nil {
				c.Write(buf[:n])
				io.Copy(io.Discard, c)
			}
		},
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(t.Context(), l) }()
	defer func() {
		srv.Close()
		<-ended
	}()
	const parallel = 3
	c := &churner{
		dialer: liveness.Client{Engine: srv.Engine, Codec: codec.Raw}, way: memory,
		server: served{Addr: l.Addr().String()}, parallel: parallel,
	}
	c.restart()
	c.resume()
	for range parallel {
		<-asked
	}
	stopped, answer := c.stop, make(chan *note)
	go func() {
		n := new(note)
		c.report(reportOrder{Stop: true}, n)
		answer <- n
	}()
	<-stopped // the time is up
	close(let)
	if n := <-answer; n.Churn.Cycles != 0 || sum(n.Churn.Failed) != 0 {
		t.Errorf("%d were in time, %v failed", n.Churn.Cycles, n.Churn.Failed)
	}
}
