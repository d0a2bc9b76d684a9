package liveness

import (
	"fmt"
	"testing"
	"time"
)

const ms, sec = time.Millisecond, time.Second

func TestPolicies(t *testing.T) {
	probing := Sliding(10*sec, ProbeAfter(4*sec))
	both := Earliest(Sliding(4*sec), MaxAge(60*sec, 0))
	tests := []struct {
		name   string
		policy Policy
		seen   History
		want   Verdict
	}{
		{"fixed at the grant", Fixed(10 * sec), History{}, judgeAgain(10 * sec)},
		{"fixed just before", Fixed(10 * sec), History{Age: 10*sec - 1}, judgeAgain(10 * sec)},
		{"fixed at the deadline", Fixed(10 * sec), History{Age: 10 * sec}, dead(FixedDeadline, 10*sec)},
		{"fixed is not moved by traffic", Fixed(10 * sec), History{Age: 10 * sec, Heard: 10*sec - 1}, dead(FixedDeadline, 10*sec)},
		{"fixed judged late names the true deadline", Fixed(10 * sec), History{Age: 12 * sec}, dead(FixedDeadline, 10*sec)},

		{"sliding counts from the grant", Sliding(4 * sec), History{Age: 1 * sec}, judgeAgain(4 * sec)},
		{"sliding counts from the last evidence", Sliding(4 * sec), History{Age: 5 * sec, Heard: 3 * sec}, judgeAgain(7 * sec)},
		{"sliding just before", Sliding(4 * sec), History{Age: 7*sec - 1, Heard: 3 * sec}, judgeAgain(7 * sec)},
		{"sliding at the deadline", Sliding(4 * sec), History{Age: 7 * sec, Heard: 3 * sec}, dead(Silent, 7*sec)},

		{"probing waits", probing, History{Age: 6*sec - 1, Heard: 2 * sec}, judgeAgain(6 * sec)},
		{"probing probes", probing, History{Age: 6 * sec, Heard: 2 * sec}, probeNow(10 * sec)},
		{"probing probes late", probing, History{Age: 11 * sec, Heard: 2 * sec}, probeNow(12 * sec)},
		{"probing probes once", probing, History{Age: 7 * sec, Heard: 2 * sec, Probes: 1}, judgeAgain(12 * sec)},
		{"probing, no answer", probing, History{Age: 12 * sec, Heard: 2 * sec, Probes: 1}, dead(Silent, 12*sec)},
		{"probing too late to ask", Sliding(4*sec, ProbeAfter(5*sec)), History{Age: 1 * sec}, judgeAgain(4 * sec)},

		{"within, unheard just before", within(2 * sec), History{Age: 2*sec - 1}, judgeAgain(2 * sec)},
		{"within, unheard", within(2 * sec), History{Age: 2 * sec}, dead(NoHello, 2*sec)},
		{"within, heard", within(2 * sec), History{Age: 20 * sec, Heard: 1}, judgeAgain(Never)},

		{"max-age just before", MaxAge(60*sec, 0), History{Age: 60*sec - 1, Heard: 60*sec - 1}, judgeAgain(60 * sec)},
		{"max-age", MaxAge(60*sec, 0), History{Age: 60 * sec, Heard: 60 * sec}, dead(Aged, 60*sec)},
		{"max-age with jitter", MaxAge(60*sec, 10*sec), History{Age: 1 * sec, Seed: uint64(3 * sec)}, judgeAgain(63 * sec)},
		{"max-age's jitter stays below its bound", MaxAge(60*sec, 10*sec), History{Age: 1 * sec, Seed: uint64(10 * sec)}, judgeAgain(60 * sec)},

		{"earliest waits for the first", both, History{Age: 50 * sec, Heard: 49 * sec}, judgeAgain(53 * sec)},
		{"earliest, one near its end", both, History{Age: 58 * sec, Heard: 57 * sec}, judgeAgain(60 * sec)},
		{"earliest names whose deadline came first", both, History{Age: 70 * sec, Heard: 57 * sec}, dead(Aged, 60*sec)},
		{"earliest, the other way round", both, History{Age: 70 * sec, Heard: 55 * sec}, dead(Silent, 59*sec)},
		{"earliest gives ties to the first", Earliest(Fixed(4*sec), within(4*sec)), History{Age: 4 * sec}, dead(FixedDeadline, 4*sec)},
		{"earliest gives ties to the first, again", Earliest(within(4*sec), Fixed(4*sec)), History{Age: 4 * sec}, dead(NoHello, 4*sec)},
		{"earliest passes probes on", Earliest(MaxAge(8*sec, 0), probing), History{Age: 6 * sec, Heard: 2 * sec}, Verdict{Probe: true, At: 8 * sec}},
		{"earliest of one is that one", Earliest(Fixed(sec)), History{Age: sec}, dead(FixedDeadline, sec)},

		{"nothing overflows", Sliding(Never), History{Age: 5 * sec, Heard: 3 * sec}, judgeAgain(Never)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.policy.Judge(tt.seen); got != tt.want {
				t.Errorf("%v.Judge(%+v)\n got %+v\nwant %+v", tt.policy, tt.seen, got, tt.want)
			}
		})
	}
}

func TestInvalidPoliciesPanic(t *testing.T) {
	tests := map[string]func(){
		"Fixed(0)":             func() { Fixed(0) },
		"Sliding(-1)":          func() { Sliding(-1) },
		"ProbeAfter(0)":        func() { ProbeAfter(0) },
		"MaxAge(0)":            func() { MaxAge(0, 0) },
		"MaxAge(jitter -1)":    func() { MaxAge(1, -1) },
		"Earliest()":           func() { Earliest() },
		"Engine{Tick: -1}":     func() { new(Engine{Tick: -1}).Grant(Fixed(1), nil) },
		"NewConn(no policy)":   func() { NewConn(nil, &Config{}) },
		"NewConn(nil, no cfg)": func() { NewConn(nil, nil) },
	}
	for name, f := range tests {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("did not panic")
				}
			}()
			f()
		})
	}
}

func TestPolicyNames(t *testing.T) {
	for want, p := range map[string]Policy{
		"fixed 10s":                   Fixed(10 * sec),
		"sliding 4s":                  Sliding(4 * sec),
		"sliding 4s probing after 2s": Sliding(4*sec, ProbeAfter(2*sec)),
		"within 1s":                   within(sec),
		"max-age 1m0s":                MaxAge(60*sec, 0),
		"max-age 1m0s+5s":             MaxAge(60*sec, 5*sec),
		"fixed 10s, max-age 1m0s":     Earliest(Fixed(10*sec), MaxAge(60*sec, 0)),
	} {
		if got := fmt.Sprint(p); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSilenceTimeout(t *testing.T) {
	tests := []struct {
		policy Policy
		want   time.Duration
		ok     bool
	}{
		{Sliding(4 * sec), 4 * sec, true},
		{Sliding(4*sec, ProbeAfter(sec)), 4 * sec, true},
		{Earliest(Sliding(4*sec), MaxAge(time.Hour, 0), within(sec)), 4 * sec, true},
		{Fixed(4 * sec), 4 * sec, false},
		{Earliest(MaxAge(3*sec, 0), Sliding(4*sec)), 3 * sec, false},
		{within(sec), 0, false},
		{Earliest(Sliding(4*sec), MaxAge(4*sec, time.Minute)), 4 * sec, true}, // but for one lease in very many
	}
	for _, tt := range tests {
		got, ok := silenceTimeout(tt.policy)
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("silenceTimeout(%v) = %v, %v; want %v, %v", tt.policy, got, ok, tt.want, tt.ok)
		}
	}
}

// Jitter counts in the longest silence, which a transport's idle timeout must exceed.
func TestLongestSilence(t *testing.T) {
	for _, test := range []struct {
		policy Policy
		want   time.Duration
	}{
		{Sliding(4 * sec), 4 * sec},
		{MaxAge(sec, 0), sec},
		{MaxAge(sec, time.Minute), 61*sec - 1},
		{Earliest(Sliding(4*sec), MaxAge(sec, time.Minute)), 4 * sec},
	} {
		if got := longestSilence(test.policy); got < test.want || got > test.want+1 {
			t.Errorf("bears(%v) = %v", test.policy, got)
		}
	}
}

// Every policy keeps its contract: after JudgeAgain at T, without new evidence, its
// verdict is the same until T.
func TestPoliciesOnlyMoveForward(t *testing.T) {
	policies := []Policy{
		Fixed(7 * ms), Sliding(5 * ms), Sliding(5*ms, ProbeAfter(2*ms)), within(3 * ms), MaxAge(9*ms, 4*ms),
		Earliest(Sliding(5*ms, ProbeAfter(2*ms)), MaxAge(9*ms, 4*ms), within(3*ms)), periodic(4 * ms),
	}
	for _, p := range policies {
		for heard := time.Duration(0); heard < 12*ms; heard += ms {
			for age := heard; age < 20*ms; age += ms / 2 {
				e := History{Age: age, Heard: heard, Seed: 12345}
				v := p.Judge(e)
				if v.Dead || v.Probe {
					continue
				}
				for later := age; later < min(v.At, 20*ms); later += ms / 2 {
					e.Age = later
					if got := p.Judge(e); got != v {
						t.Fatalf("%v at %v said %+v, and at %v already %+v", p, age, v, later, got)
					}
				}
			}
		}
	}
}
