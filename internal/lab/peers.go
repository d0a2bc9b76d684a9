package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// peersSettings are for comparing livenet with alternatives: renew and hold of all kinds.
type peersSettings struct {
	plan   plan
	family string // only this one, if set
	match  *regexp.Regexp
	out    string // folder for pages, plots and results.json, if set
	from   string // file of an earlier run to take instead of measuring, if set
}

// fullPlan is that of docs/peers.
var fullPlan = plan{
	Entries: 1_000_000, Conns: 4000, Timeout: 30 * time.Second, Renewals: 1 << 21,
	Rate: 100_000, Window: 8 * time.Second, Expiries: 10_000, Spread: time.Second,
	Sessions: 4000, QUICSessions: 1000, Beat: time.Second, Settle: 2 * time.Second,
}

// smallPlan tests that everything works. Its figures are meaningless.
var smallPlan = plan{
	Entries: 2000, Conns: 50, Timeout: 200 * time.Millisecond, Renewals: 1 << 13,
	Rate: 100_000, Window: 100 * time.Millisecond, Expiries: 100, Spread: 100 * time.Millisecond,
	Sessions: 40, QUICSessions: 20, Beat: time.Second, Settle: 50 * time.Millisecond,
}

func (p plan) renew(match *regexp.Regexp) renewSettings {
	return renewSettings{
		Entries: p.Entries, Conns: p.Conns, Timeout: p.Timeout, Renewals: p.Renewals, Rate: p.Rate,
		Window: p.Window, Settle: p.Settle, Expiries: p.Expiries, Spread: p.Spread, match: match,
	}
}

// A kind is one of those that hold idle sessions.
type kind struct {
	name string
	ours bool
	udp  bool
	beat string
	hold holdSettings // but for numbers and times
}

// kinds are in the order of the pages.
func kinds() []kind {
	const echoed, ping = "5 bytes, echoed", "the client's Ping, answered"
	ours := []kind{
		{"livenet tcp", true, false, echoed, holdSettings{Transport: "tcp", Codec: "raw", IO: ioHandler, Echo: true, Sockets: true}},
		{"livenet tcp parked", true, false, echoed, holdSettings{Transport: "tcp", Codec: "raw", IO: ioParked, Echo: true, Sockets: true}},
		{"livenet tcp, own beats", true, false, ping, holdSettings{Transport: "tcp", Codec: "frame", IO: ioHandler}},
		{"livenet tcp parked, own beats", true, false, ping, holdSettings{Transport: "tcp", Codec: "frame", IO: ioParked}},
		{"livenet yamux", true, false, ping, holdSettings{Transport: "yamux", Codec: "frame", IO: ioHandler}},
		{"livenet yamux, fed", true, false, ping, holdSettings{Transport: "yamux", Codec: "frame", IO: ioParked}},
		{"livenet quic", true, true, ping, holdSettings{Transport: "quic", Codec: "frame", IO: ioHandler}},
	}
	var list []kind
	for _, r := range rivals {
		k := kind{r.name, false, r.udp, r.beat, holdSettings{Rival: r.name}}
		if r.dial == nil {
			k.hold.Transport, k.hold.Codec, k.hold.Echo, k.hold.Sockets = "tcp", "raw", true, true
		}
		list = append(list, k)
	}
	return append(list, ours...)
}

// peers measures, and writes pages and plots to a folder.
func (l *lab) peers(ctx context.Context, s peersSettings) (*results, error) {
	if s.from != "" {
		r, err := readResults(s.from)
		if err == nil {
			err = r.write(s.out)
		}
		return r, err
	}
	r := newResults(s.plan)
	if load := r.Machine.Load; load > 0.5 {
		fmt.Fprintf(l.stderr, "the load average is %.1f: the figures will show it\n", load)
	}
	err := l.measurePeers(ctx, s, r)
	if ctx.Err() != nil {
		s.out = "" // not over the results of a run that was complete
	}
	return r, errors.Join(err, r.write(s.out))
}

// measurePeers goes run by run, so that a disturbance of the machine spoils one sample of many
// rows and not all samples of one. A failure of one kind does not end the run.
func (l *lab) measurePeers(ctx context.Context, s peersSettings, r *results) error {
	var errs []error
	inner := *l
	inner.progress = nil
	for i := range s.plan.Runs {
		if s.family != familyIdle {
			l.step(float64(i)/float64(s.plan.Runs), "run %d of %d: deadlines", i+1, s.plan.Runs)
			rows, err := inner.renewAll(ctx, s.plan.renew(s.match))
			for _, row := range rows {
				r.deadlines(row)
			}
			errs = append(errs, err)
		}
		for _, k := range kinds() {
			if s.family == familyDeadlines || !s.match.MatchString(k.name) {
				continue
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			l.step((float64(i)+0.7)/float64(s.plan.Runs), "run %d of %d: %s", i+1, s.plan.Runs, k.name)
			if err := inner.holdKind(ctx, k, s.plan, r); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", k.name, err))
			}
		}
	}
	return errors.Join(errs...)
}

func (l *lab) holdKind(ctx context.Context, k kind, p plan, r *results) error {
	h := k.hold
	h.Sessions, h.Beat, h.Timeout, h.For, h.Settle, h.Buffer = p.Sessions, p.Beat, idleTimeout, p.Window, p.Settle, 1024
	if k.udp {
		h.Sessions = p.QUICSessions
	}
	_, held, err := l.holdSessions(ctx, h)
	if err != nil {
		return err
	}
	w := r.row(familyIdle, k.name)
	w.Ours, w.N, w.Note = k.ours, h.Sessions, k.beat
	w.add(residentBytes, float64(held.opened.Resident))
	w.add(beatenBytes, float64(held.held.Resident))
	w.add(heapBytes, float64(held.held.Heap))
	w.add(stackBytes, float64(held.held.Stacks))
	w.add(goroutines, held.goroutines)
	w.add(beatShare, held.core*1000/float64(h.Sessions))
	return nil
}

// deadlines adds a sample of a way.
func (r *results) deadlines(row renewRow) {
	w := r.row(familyDeadlines, row.Way)
	w.Ours, w.N, w.Note = row.way.ours, row.Entries, row.way.note
	w.add(renewTime, float64(row.Random))
	w.add(renewAllocs, float64(row.Allocs))
	if row.Kept > 0.9 { // less than that is another load
		w.add(coreShare, float64(row.Core)/100)
	}
	if row.way.weighed() {
		w.add(loadedBytes, float64(row.Loaded))
	}
	if row.Way == bareLoop {
		return
	}
	ms := func(d time.Duration) float64 { return d.Seconds() * 1e3 }
	w.add(early, float64(row.Early))
	w.add(earliest, ms(row.Earliest))
	w.add(lateP50, ms(row.P50))
	w.add(lateP99, ms(row.P99))
	w.add(lateMax, ms(row.Max))
	w.add(lost, float64(row.Never))
}

// text writes the pages, without their plots.
func (r *results) text(w io.Writer) error {
	var b strings.Builder
	for _, f := range families {
		if len(r.family(f.name)) > 0 {
			f.page(&b, r)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *results) json(w io.Writer) error { return json.NewEncoder(w).Encode(r) }

// write writes results, pages and plots to a folder; empty: to none.
func (r *results) write(folder string) error {
	if folder == "" || len(r.Rows) == 0 {
		return nil
	}
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	files := map[string][]byte{"results.json": append(raw, '\n')}
	for _, f := range families {
		if len(r.family(f.name)) == 0 {
			continue
		}
		var page strings.Builder
		f.page(&page, r)
		files[f.name+".md"] = []byte(page.String())
		for _, p := range f.plots {
			files[p.name+".svg"] = p.draw(r)
		}
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o666); err != nil {
			return err
		}
	}
	return nil
}
