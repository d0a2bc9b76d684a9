package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/livenet/livenet/liveness"
)

// A detectSettings is for peers that are lost in every way there is, on every
// transport and under every evidence, each in a network namespace of its own: when
// does the server find out?
type detectSettings struct {
	Timeout time.Duration `json:"timeout_ns"` // of the server's sliding policy
	Hold    time.Duration `json:"hold_ns"`    // all peers live before the faults
	Watch   time.Duration `json:"watch_ns"`   // after them
}

// A fault is a way to lose a peer.
type fault struct {
	name    string
	traffic traffic // that the server sends until then
	onWire  [2]bool // what is lost from then on: of the peer's packets, of the server's
	signal  os.Signal
}

var faults = []fault{
	{name: "host vanishes, idle", onWire: [2]bool{true, true}},
	{name: "host vanishes, data in flight", traffic: someData, onWire: [2]bool{true, true}},
	{name: "host vanishes, zero window", traffic: allData, onWire: [2]bool{true, true}},
	{name: "the peer's packets are lost", traffic: someData, onWire: [2]bool{true, false}},
	{name: "process frozen", signal: syscall.SIGSTOP},
	{name: "process killed", signal: syscall.SIGKILL},
}

// evidences are what counts as a sign of life. Under acks the peers send nothing but
// their first byte; under the others they beat.
var evidences = []string{"acks", "bytes", "beats"}

const (
	// detectLate is by how much a reason may be late: two ticks, and what this machine
	// takes to let a process run.
	detectLate = 2*liveness.DefaultTick + 150*time.Millisecond

	// tellsSoon is in how much time a kernel tells that a process has gone.
	tellsSoon = time.Second

	// sampled is the share of a timeout by which a transport that is sampled for
	// acknowledgements may be later.
	sampled = 4
)

// cannotIsolate is why this process can't make network namespaces; empty: it can.
func cannotIsolate() string {
	if os.Geteuid() != 0 {
		return "network namespaces need root"
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return "there is no command ip"
	}
	return ""
}

// A detectRow is a fault on a transport: the reason, and when it came after the fault.
type detectRow struct {
	Fault     string `json:"fault"`
	Transport string `json:"transport"`
	Acks      string `json:"acks"`
	Bytes     string `json:"bytes"`
	Beats     string `json:"beats"`
}

// A lateRow is how late the ends for silence were, counted from the last sign of life
// that was on the wire.
type lateRow struct {
	Transport string        `json:"transport"`
	Evidence  string        `json:"evidence"`
	Ends      int           `json:"ends"`
	Least     time.Duration `json:"late_at_least_ns"`
	Most      time.Duration `json:"late_at_most_ns"`
}

// A detection is the experiment under way.
type detection struct {
	*lab
	detectSettings
	server *worker
	peers  []*worker // by fault
	begun  []time.Time
	over   []time.Time // by when the fault was complete
	found  map[lostPeer]detectEnd
	stalls int // that the server had noticed before the faults
}

// detect fails if a peer was ended that lived, or too early, or too late, or not at
// all.
func (l *lab) detect(ctx context.Context, s detectSettings) (*report, error) {
	c := newCrew(ctx, l.stderr)
	c.isolated = true
	defer c.end()
	r := &detection{lab: l, detectSettings: s}
	if err := r.run(ctx, c); err != nil {
		return nil, err
	}
	rows, late, err := r.judge()
	return newReport("detect", s,
		table{"From the fault to the reason", "Under acks the peers only receive; otherwise they beat at a third of the timeout.", rows},
		table{"Ends for silence, against the deadline", "The deadline is a timeout after the last packet that was a sign of life, which only TCP tells apart.", late},
	), err
}

// serverIP and peerIP are the addresses on the link between the server and the peers
// of a fault.
func serverIP(i int) string { return fmt.Sprintf("10.0.%d.1", i) }
func peerIP(i int) string   { return fmt.Sprintf("10.0.%d.2", i) }

func (r *detection) run(ctx context.Context, c *crew) (err error) {
	r.step(0, "connecting")
	if r.server, err = c.start("the server", order{Detect: &detectTask{Serve: true, Timeout: r.Timeout}}); err != nil {
		return err
	}
	addrs := r.server.last.Detect.Addrs
	for i, f := range faults {
		p, err := c.start("the peers of "+f.name, order{Detect: &detectTask{Timeout: r.Timeout}})
		if err != nil {
			return err
		}
		r.peers = append(r.peers, p)
		if err := r.join(i); err != nil {
			return err
		}
	}
	err = each(r.peers, func(p *worker) error {
		for i, f := range faults {
			if r.peers[i] == p {
				_, err := p.ask(order{Connect: &connectTask{Host: serverIP(i), Ports: addrs, Traffic: f.traffic}})
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for began := time.Now(); time.Since(began) < r.Hold; {
		r.step(0.1+0.4*float64(time.Since(began))/float64(r.Hold), "all live")
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	if err := r.read(); err != nil {
		return err
	}
	for c, e := range r.found {
		return fmt.Errorf("%v: ended before the fault: %s", c, e.Reason)
	}
	r.stalls = r.server.last.Detect.Stalls
	for i, f := range faults {
		r.begun = append(r.begun, time.Now())
		if err := r.strike(i, f); err != nil {
			return err
		}
		r.over = append(r.over, time.Now())
	}
	for began := time.Now(); time.Since(began) < r.Watch; {
		r.step(0.5+0.5*float64(time.Since(began))/float64(r.Watch), "watching")
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return r.read()
}

// join links the server's network to that of a fault's peers.
func (r *detection) join(i int) error {
	link := fmt.Sprintf("h%d", i)
	if _, err := r.server.ask(order{IP: []string{
		fmt.Sprintf("link add %s type veth peer name eth0 netns %d", link, r.peers[i].cmd.Process.Pid),
		fmt.Sprintf("addr add %s/24 dev %s", serverIP(i), link),
		"link set " + link + " up",
	}}); err != nil {
		return err
	}
	_, err := r.peers[i].ask(order{IP: []string{"addr add " + peerIP(i) + "/24 dev eth0", "link set eth0 up"}})
	return err
}

// strike brings a fault about. Packets are lost without an error at either end: they
// go to a card that there isn't.
func (r *detection) strike(i int, f fault) error {
	lose := func(w *worker, ip, link string) error {
		_, err := w.ask(order{IP: []string{"neigh replace " + ip + " lladdr 02:00:00:00:00:01 dev " + link + " nud permanent"}})
		return err
	}
	var errs []error
	if f.onWire[0] {
		errs = append(errs, lose(r.peers[i], serverIP(i), "eth0"))
	}
	if f.onWire[1] {
		errs = append(errs, lose(r.server, peerIP(i), fmt.Sprintf("h%d", i)))
	}
	if f.signal != nil {
		errs = append(errs, r.peers[i].signal(f.signal))
	}
	return errors.Join(errs...)
}

// read asks the server for the ends there were.
func (r *detection) read() error {
	a, err := r.server.ask(order{})
	if err != nil {
		return err
	}
	r.found = make(map[lostPeer]detectEnd)
	for _, e := range a.Detect.Ends {
		for i := range faults {
			if e.Host == peerIP(i) {
				r.found[lostPeer{i, e.Transport, e.Evidence}] = e
			}
		}
	}
	return nil
}

// A lostPeer is one peer: of a fault, on a transport, under an evidence.
type lostPeer struct {
	fault               int
	transport, evidence string
}

func (c lostPeer) String() string {
	return faults[c.fault].name + ", " + c.transport + ", " + c.evidence
}

// kernelSpeaks reports whether the peer's kernel answers for it, and not the process.
func (c lostPeer) kernelSpeaks() bool { return c.transport == "tcp" || c.transport == "tls" }

// judge makes the tables, and finds what should not have happened.
func (r *detection) judge() (rows []detectRow, late []lateRow, err error) {
	var errs []error
	lates := make(map[[2]string]*lateRow)
	for _, t := range transports {
		for _, ev := range evidences {
			late = append(late, lateRow{Transport: t, Evidence: ev})
		}
	}
	for i := range late {
		lates[[2]string{late[i].Transport, late[i].Evidence}] = &late[i]
	}
	for i, f := range faults {
		for _, t := range transports {
			row := detectRow{Fault: f.name, Transport: t}
			for _, ev := range evidences {
				c := lostPeer{i, t, ev}
				e, ended := r.found[c]
				text := "lives"
				if ended {
					text = fmt.Sprintf("%s %.2f s", e.Reason, e.At.Sub(r.over[i]).Seconds())
				}
				switch ev {
				case "acks":
					row.Acks = text
				case "bytes":
					row.Bytes = text
				case "beats":
					row.Beats = text
				}
				if err := r.check(c, e, ended); err != nil {
					errs = append(errs, fmt.Errorf("%v: %w", c, err))
				}
				if l := lates[[2]string{t, ev}]; ended && e.Reason == liveness.Silent.String() && !e.Seen.IsZero() {
					d := e.At.Sub(e.Seen) - r.Timeout
					if l.Ends++; l.Ends == 1 || d < l.Least {
						l.Least = d
					}
					l.Most = max(l.Most, d)
				}
			}
			rows = append(rows, row)
		}
	}
	known := late[:0]
	for _, l := range late {
		if l.Ends > 0 {
			known = append(known, l)
		}
	}
	return rows, known, errors.Join(errs...)
}

// check is an error if a peer's end isn't what it should be.
func (r *detection) check(c lostPeer, e detectEnd, ended bool) error {
	f, after := faults[c.fault], e.At.Sub(r.over[c.fault])
	switch {
	case f.signal == syscall.SIGSTOP && c.evidence == "acks" && c.kernelSpeaks():
		if ended {
			return fmt.Errorf("ended %s, and its kernel answers", e.Reason)
		}
		return nil
	case !ended:
		return errors.New("not ended")
	case f.signal == syscall.SIGKILL && c.transport != "quic":
		if !strings.HasPrefix(e.Reason, "peer-") && e.Reason != liveness.TransportLost.String() || after > tellsSoon {
			return fmt.Errorf("ended %s after %v, and its kernel tells at once", e.Reason, after)
		}
		return nil
	case e.Reason != liveness.Silent.String():
		return fmt.Errorf("ended %s", e.Reason)
	}
	from, to := r.begun[c.fault].Add(-r.Timeout/2), r.over[c.fault] // the last sign of life; they come each third
	if !e.Seen.IsZero() {
		from, to = e.Seen, e.Seen
	}
	allowed := detectLate
	if e.Stalls > r.stalls { // the server has not run for a while
		allowed += r.Timeout / 2
	}
	if c.evidence == "acks" && !c.kernelSpeaks() {
		allowed += r.Timeout / sampled
	}
	switch early, late := from.Add(r.Timeout).Sub(e.At), e.At.Sub(to.Add(r.Timeout)); {
	case early > 0:
		return fmt.Errorf("ended %v early", early)
	case late > allowed:
		return fmt.Errorf("ended %v late", late)
	}
	return nil
}
