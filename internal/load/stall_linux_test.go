package load

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/livenet/livenet/internal/bench"
	"github.com/livenet/livenet/liveness"
)

// tinyStall is one that is soon over.
func tinyStall(t *testing.T, transport string) Stall {
	return Stall{
		Transport: transport, Codec: "frame", IO: Goroutine, Sessions: 50, Dead: 5, Trials: 1,
		Timeout: 500 * time.Millisecond, Beat: 100 * time.Millisecond, Side: SideServer, Starve: StarveStop, Command: ourselves(t),
	}
}

// checkStall checks a row: nobody was ended who beat, and everybody who did not.
func checkStall(t *testing.T, s Stall, r *bench.Report, n int) {
	t.Helper()
	got := row(t, r, "rows", n)
	trials := got["trials"].(int)
	beating := s.Sessions - s.Dead
	if got["false_kills"] != 0 || got["beating"] != beating*trials || got["dead"] != s.Dead*trials || got["reaped"] != s.Dead*trials {
		t.Errorf("got %v", got)
	}
	// Ten a second are asked for of each, and for a second at least.
	if beats := got["beats"].(int64); beats < int64(2*beating) {
		t.Errorf("%v beats", beats)
	}
	if took, _ := got["reaped_max_ms"].(time.Duration); took <= 0 || took > 5*time.Second {
		t.Errorf("reaped after %v", took)
	}
	if got := row(t, r, "ends", 0); got["reason"] != "silent" {
		t.Errorf("they ended %v", got)
	}
}

// A server that was stopped takes nobody for silent who is not, and all who are.
func TestStall(t *testing.T) {
	for _, test := range []struct{ transport, codec, io string }{
		{"tcp", "frame", Parked},
		{"tcp", "raw", Goroutine},
		{"yamux", "frame", Goroutine},
		{"quic", "frame", Goroutine},
	} {
		t.Run(test.transport+","+test.codec, func(t *testing.T) {
			t.Parallel()
			s := tinyStall(t, test.transport)
			s.Codec, s.IO, s.Stops, s.Trials = test.codec, test.io, []float64{2, 0.5}, 2
			var said steps
			r, err := s.Run(within(t), &said)
			if err != nil {
				t.Error(err)
			}
			checkStall(t, s, r, 0)
			checkStall(t, s, r, 1)
			if got := row(t, r, "rows", 1); got["stalled_s"] != time.Second || got["trials"] != 1 {
				t.Errorf("got %v", got)
			}
			if text := strings.Join(said.said, "\n"); !strings.Contains(text, "trial 2 of 2") || strings.Contains(text, ": ") {
				t.Errorf("the progress is\n%s", text)
			}
		})
	}
}

// Nor does one that hardly gets to run, in whatever way.
func TestStarve(t *testing.T) {
	for how, transport := range map[string]string{
		StarveCPU: "tcp", StarveProcs: "quic", StarveGC: "yamux", StarveCgroup: "tcp", StarveTicks: "quic",
	} {
		t.Run(how, func(t *testing.T) {
			if how == StarveCgroup {
				g, err := newCgroup()
				if err != nil {
					t.Skip(err)
				}
				g.remove()
			}
			s := tinyStall(t, transport)
			s.Starve = how
			if how == StarveTicks {
				// It runs for 30 ms in every 480. What comes in that time it must be able
				// to read in it, as slow as the race detector makes it.
				s.Sessions = 15
			}
			r, err := s.Run(within(t), new(steps))
			if err != nil {
				t.Error(err)
			}
			checkStall(t, s, r, 0)
		})
	}
	if root, _, err := cgroupRoot(); err == nil {
		if _, err := os.Stat(filepath.Join(root, fmt.Sprint(cgroupPrefix, os.Getpid()))); err == nil {
			t.Error("the control group is left over")
		}
	}
}

// Without the protection, the server that is to be compared with does take its
// own stall for silence: there would be nothing to compare otherwise. It fails
// nobody but itself.
func TestStallUnprotected(t *testing.T) {
	s := tinyStall(t, "quic")
	s.Stops, s.Compare = []float64{3}, true
	r, err := s.Run(within(t), new(steps))
	if err != nil {
		t.Error(err)
	}
	checkStall(t, s, r, 0)
	if got := row(t, r, "rows", 1); got["who"].(bench.Label).Key != "unprotected" || got["false_kills"] == 0 {
		t.Errorf("got %v", got)
	}
}

// An unprotected policy judges as the one that it wraps does, but for the
// question whether it would have changed its mind.
func TestUnprotected(t *testing.T) {
	u := &unprotected{Policy: liveness.Sliding(time.Second)}
	for _, test := range []struct {
		heard, age time.Duration
		dead       bool
	}{
		{1, 1, false},
		{1, time.Second, false},
		{1, time.Second + 1, true},
		{time.Second + 1, time.Second + 1, true}, // would it, had it been heard now?
		{2 * time.Second, 2 * time.Second, false},
		{2 * time.Second, 3*time.Second - 1, false},
	} {
		if v := u.Judge(liveness.Evidence{Heard: test.heard, Age: test.age}); v.Dead != test.dead {
			t.Errorf("heard at %v, judged at %v: %+v", test.heard, test.age, v)
		}
	}
	if u.String() != "sliding 1s" {
		t.Errorf("it is called %v", u)
	}
}

// Whoever interrupts gets what there is; no process is left, and none stopped.
func TestStallInterrupted(t *testing.T) {
	for _, how := range []string{StarveStop, StarveTicks, StarveCPU} {
		for trial, want := range []string{1: "trial 1", 2: "trial 2"} {
			if trial == 0 {
				continue
			}
			t.Run(how+","+want, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithCancel(within(t))
				s := tinyStall(t, "tcp")
				s.Starve, s.Stops, s.Trials = how, []float64{0.5, 1000}, 1000
				r, err := s.Run(ctx, at(want, func() { time.AfterFunc(300*time.Millisecond, cancel) }))
				if !errors.Is(err, context.Canceled) {
					t.Fatalf("got %v", err)
				}
				rows := 0
				for _, table := range r.Tables {
					if table.Key == "rows" {
						rows = len(table.Rows)
					}
				}
				if rows != trial-1 {
					t.Errorf("%d rows", rows)
				}
			})
		}
	}
}

// Clients that were stopped give nobody up, and those that are not protected give
// up everybody: a laptop that wakes up. It fails nobody but themselves.
func TestStallOfClients(t *testing.T) {
	for _, transport := range []string{"tcp", "yamux", "quic"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := tinyStall(t, transport)
			s.Side, s.Dead, s.Stops, s.Compare = SideClient, 0, []float64{2}, true
			s.Timeout, s.Beat = 2*time.Second, 400*time.Millisecond // half of it is for asking, on a busy machine
			r, err := s.Run(within(t), new(steps))
			if err != nil {
				t.Error(err)
			}
			got := row(t, r, "rows", 0)
			if got["who"].(bench.Label).Key != "protected" || got["false_kills"] != 0 || got["lost"] != 0 || got["beating"] != s.Sessions {
				t.Errorf("got %v", got)
			}
			if n := got["stalls"].(int); n == 0 {
				t.Error("no stall was noticed")
			}
			if got := row(t, r, "rows", 1); got["who"].(bench.Label).Key != "unprotected" || got["false_kills"] == 0 {
				t.Errorf("got %v", got)
			}
		})
	}
}

// A client that was stopped does not take that for its server's silence: a
// laptop that wakes up. A server that has really fallen silent is found out.
func TestClientWakesUp(t *testing.T) {
	const sessions, judge = 10, 500 * time.Millisecond
	for _, transport := range []string{"tcp", "yamux", "quic"} {
		for _, dies := range []string{"later", "meanwhile"} {
			t.Run(transport+","+dies, func(t *testing.T) {
				t.Parallel()
				limits := ReadLimits()
				c := newCrew(limits, Shape{Transport: transport, Codec: "frame", IO: Goroutine, Sessions: sessions, Servers: 1, Judging: true}, ourselves(t))
				defer c.fleet.end()
				ctx := within(t)
				check := func(err error) {
					t.Helper()
					if err != nil {
						t.Fatal(err)
					}
				}
				check(c.start(ctx, serveOrder{Timeout: time.Minute}, holdOrder{Beat: judge / 5, Timeout: time.Minute, Judging: true, Judge: judge}))
				check(c.connect(ctx, c.plan.targetsOfAll(), nil))
				check(c.settle(ctx, nil))
				client, server := c.clients[0], c.servers[0]
				check(client.stop())
				check(pause(ctx, 4*judge))
				if dies == "meanwhile" {
					check(server.stop())
				}
				check(client.goOn())
				if dies == "later" {
					check(pause(ctx, 3*judge))
					check(c.fleet.ask(ctx, c.clients, reportOrder{}))
					if n := client.client.Lost; n != 0 {
						t.Fatalf("%d servers were given up for a stall of the client's", n)
					}
					check(server.stop())
				}
				began := time.Now()
				for client.client.Lost < sessions {
					check(c.fleet.ask(ctx, c.clients, reportOrder{}))
					check(pause(ctx, 10*time.Millisecond))
				}
				// On a machine with other things to do it may take a little longer.
				if took := time.Since(began); took > 2*judge+time.Second {
					t.Errorf("a silent server was given up after %v", took)
				}
				if n := client.client.FalseKills; n != sessions {
					t.Errorf("%d of them for its silence", n)
				}
			})
		}
	}
}

func TestFail(t *testing.T) {
	for _, transport := range []string{"tcp", "yamux", "quic"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			f := Fail{
				Transport: transport, IO: Goroutine, Sessions: 50, Neighbours: 10, Ways: FailWays,
				Timeout: 500 * time.Millisecond, Beat: 100 * time.Millisecond, Slow: 20 * time.Millisecond, Command: ourselves(t),
			}
			if transport == "tcp" {
				f.IO = Parked
			}
			r, err := f.Run(within(t), new(steps))
			if err != nil {
				t.Error(err)
			}
			for i, way := range FailWays {
				got := row(t, r, "rows", i)
				if got["way"] != way || got["told"] != 50 || got["neighbours_lost"] != 0 || got["heap_most_bytes"].(float64) < got["heap_before_bytes"].(float64) {
					t.Errorf("got %v", got)
				}
				// Whoever takes his time does not hold up the verdicts.
				if late, ok := got["decided_late_ms"].(time.Duration); ok && late > 300*time.Millisecond {
					t.Errorf("%s: decided %v late", way, late)
				}
				for n, when := range []string{"usual", "meanwhile"} {
					if got := row(t, r, "connecting", 2*i+n); got["when"] != when || got["failed"] != 0 || got["p50_us"] == nil {
						t.Errorf("got %v", got)
					}
				}
			}
		})
	}
}

func TestFailInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(within(t))
	f := Fail{
		Transport: "tcp", IO: Parked, Sessions: 50, Neighbours: 10, Ways: FailWays,
		Timeout: 500 * time.Millisecond, Beat: 100 * time.Millisecond, Slow: time.Millisecond, Command: ourselves(t),
	}
	r, err := f.Run(ctx, at(FailSlow+": failing", cancel))
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if got := row(t, r, "rows", 0); got["told"] != 50 {
		t.Errorf("got %v", got)
	}
}

func TestFastest(t *testing.T) {
	now := time.Now()
	var times []time.Time
	for _, ms := range []int{0, 10, 50, 200, 210, 220, 299, 300, 500} {
		times = append(times, now.Add(time.Duration(ms)*time.Millisecond))
	}
	if n := fastest(times, 100*time.Millisecond); n != 4 {
		t.Errorf("got %d", n)
	}
}
