package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

const (
	residentBytes figure = "resident-bytes"       // per session, when it has been opened
	beatenBytes   figure = "resident-bytes-after" // per session, when it has beaten for a while
	heapBytes     figure = "heap-bytes"           // likewise
	stackBytes    figure = "stack-bytes"          // likewise
	goroutines    figure = "goroutines"           // likewise
	beatShare     figure = "core-share-of-1000"   // of one core, for 1,000 sessions that beat
	beatsAnswered figure = "beats-answered"       // share of the beats due that the server answered; clients of this program only
)

// measureIdle takes one sample of every figure of every kind of server.
func measureIdle(ctx context.Context, o *options, r *report, p *progress) error {
	var errs []error
	for i := range kinds {
		k := &kinds[i]
		if !o.match.MatchString(k.name) {
			continue
		}
		n := o.Sessions
		if k.udp {
			n = o.QUICSessions
		}
		row := r.row(familyIdle, k.name)
		row.Ours, row.N, row.Note = k.ours, n, k.beat
		p.say("%s: %d sessions", k.name, n)
		err := holdSessions(ctx, k, o.plan, n, row)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", k.name, err)
			p.say("%v", err)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// patience is how long opening all sessions may take, beside the waiting that
// the plan demands, before a kind is given up.
const patience = 3 * time.Minute

// holdSessions opens n sessions to a server of kind k.
func holdSessions(ctx context.Context, k *kind, p plan, n int, row *row) error {
	ctx, cancel := context.WithTimeout(ctx, patience+3*p.Settle+p.Window)
	defer cancel()
	server, err := start(ctx, "server", task{Kind: k.name, Beat: p.Beat}, os.Stderr)
	if err != nil {
		return err
	}
	defer server.end()
	listening, err := server.answer()
	if err != nil {
		return err
	}
	client, err := start(ctx, "client", task{Kind: k.name, Beat: p.Beat, Addr: listening.Addr}, os.Stderr)
	if err != nil {
		return err
	}
	defer client.end()

	// The first sessions bring in what the process needs once: its code, its
	// pools. They stay, and don't count.
	first := max(1, min(n/10, 200))
	open := func(n int) (footprint, error) {
		if _, err := client.order(order{Do: orderOpen, Sessions: n}); err != nil {
			return footprint{}, err
		}
		if !pause(ctx, p.Settle) {
			return footprint{}, ctx.Err()
		}
		return weigh(server, n)
	}
	empty, err := open(first)
	if err != nil {
		return err
	}
	opened, err := open(n)
	if err != nil {
		return err
	}
	used, answered, err := watchBeats(ctx, server, client, p)
	if err != nil {
		return err
	}
	beaten, err := weigh(server, n)
	if err != nil {
		return err
	}
	per := func(before, after int64) float64 { return float64(after-before) / float64(n-first) }
	row.add(residentBytes, per(empty.Resident, opened.Resident))
	row.add(beatenBytes, per(empty.Resident, beaten.Resident))
	row.add(heapBytes, per(empty.Heap, beaten.Heap))
	row.add(stackBytes, per(empty.Stacks, beaten.Stacks))
	row.add(goroutines, per(empty.Goroutines, beaten.Goroutines))
	row.add(beatShare, used*1000/float64(n))
	if !k.beatsItself {
		row.add(beatsAnswered, float64(answered)/(float64(n)*(p.Window+p.Settle).Seconds()/p.Beat.Seconds()))
	}
	return nil
}

// leastSessions are one of those, and one that counts.
const leastSessions = 2

// watchBeats has all sessions beat, and returns the share of a core that the
// server takes meanwhile.
func watchBeats(ctx context.Context, server, client *process, p plan) (share float64, answered int64, err error) {
	if _, err := client.order(order{Do: orderBeat, Beat: p.Beat}); err != nil {
		return 0, 0, err
	}
	if !pause(ctx, p.Settle) {
		return 0, 0, ctx.Err()
	}
	before, err := server.order(order{Do: orderCPU})
	if err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	if !pause(ctx, p.Window) {
		return 0, 0, ctx.Err()
	}
	after, err := server.order(order{Do: orderCPU})
	if err != nil {
		return 0, 0, err
	}
	took := time.Since(begin)
	rested, err := client.order(order{Do: orderRest})
	return (after.Used - before.Used).Seconds() / took.Seconds(), rested.Answered, err
}

// weigh takes the server's memory, and makes sure that it holds what it is
// meant to hold.
func weigh(server *process, sessions int) (footprint, error) {
	a, err := server.order(order{Do: orderWeigh})
	if err == nil && a.Sessions != sessions {
		err = fmt.Errorf("the server holds %d sessions, not %d", a.Sessions, sessions)
	}
	return a.Footprint, err
}
