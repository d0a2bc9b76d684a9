package story

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livenet/livenet/liveness"
)

func TestScript(t *testing.T) {
	want := map[string]time.Duration{
		"quic sliding 4s": 22 * time.Second, "quic fixed 10s": 10 * time.Second,
		"tcp sliding 4s": 22 * time.Second, "tcp fixed 10s": 10 * time.Second,
		"yamux sliding 4s": 22 * time.Second, "yamux fixed 10s": 10 * time.Second,
	}
	for _, p := range Parts() {
		name := p.Transport + " " + p.Policy
		if p.End() != want[name] {
			t.Errorf("%s ends at %v, want %v", name, p.End(), want[name])
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	for i, at := range map[int]time.Duration{0: 0, 9: 18 * time.Second, 10: 32 * time.Second, 19: 50 * time.Second} {
		if moment(i) != at {
			t.Errorf("beat %d at %v, want %v", i, moment(i), at)
		}
	}
	if n := newPart("tcp", false, 10*time.Second).heard(); n != 5 {
		t.Errorf("fixed 10s hears %d beats at least, want 5", n)
	}
}

// All parts end for the right reasons and in the right order, and every moment is reported.
func TestPlay(t *testing.T) {
	parts := Parts()
	var mu sync.Mutex
	told := make([][]Moment, len(parts))
	outcomes, err := Play(t.Context(), parts, 10, func(m Moment) {
		mu.Lock()
		defer mu.Unlock()
		told[m.Part] = append(told[m.Part], m)
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range parts {
		t.Run(p.Transport+" "+p.Policy, func(t *testing.T) { checkPart(t, p, outcomes[i], told[i]) })
	}
}

func checkPart(t *testing.T, p Part, o Outcome, told []Moment) {
	if excused(o.Wrong) {
		t.Skip(o.Wrong)
	}
	if o.Wrong != "" {
		t.Fatalf("%s: %+v", o.Wrong, o)
	}
	if o.Reason != p.Reason() || o.Measured < p.Timeout || o.Expected != p.End() {
		t.Errorf("%+v", o)
	}
	if o.ClientReason != o.Reason && !(p.Transport == "tcp" && o.ClientReason == liveness.PeerReset) {
		t.Errorf("the client was told %v, not %v", o.ClientReason, o.Reason)
	}
	last := told[len(told)-1]
	if last.End == nil || len(told)-1 < p.heard() {
		t.Errorf("%d moments, the last of which is %+v", len(told), last)
	}
	for k, m := range told[:len(told)-1] {
		if m.Beat != k+1 || m.At < moment(k) {
			t.Errorf("moment %d is %+v", k, m)
		}
	}
}

// excused reports whether a busy machine may have caused the difference.
func excused(wrong string) bool { return wrong == wrongLate || strings.HasSuffix(wrong, wrongBusy) }

func TestNothingIsEarlyOnABusyMachine(t *testing.T) {
	for wrong, want := range map[string]bool{
		"late": true, "ended after 3 beats of 5: " + wrongBusy: true, "1ms early": false, "want silent": false,
	} {
		if excused(wrong) != want {
			t.Errorf("%q: excused %v", wrong, !want)
		}
	}
}

// A part that ends before its beats are sent counts as wrong.
func TestOutcomeOfABusyMachine(t *testing.T) {
	s := &stage{part: newPart("tcp", true, 4*time.Second), speed: 1, sent: 3}
	e := liveness.Event{End: &liveness.Error{Reason: liveness.Silent, Age: 22 * time.Second, Silence: 4 * time.Second}}
	if !excused(s.wrong(e)) {
		t.Errorf("three beats will do: %q", s.wrong(e))
	}
	s.sent, s.bytes = Beats, 100
	s.heard.Store(90)
	if !excused(s.wrong(e)) {
		t.Errorf("beats that came too late will do: %q", s.wrong(e))
	}
	s.heard.Store(100)
	for want, e := range map[string]liveness.Event{
		"": e,
		// The last beat did not arrive, so from the engine's view this is not early.
		"2s early":    {End: &liveness.Error{Reason: liveness.Silent, Age: 20 * time.Second, Silence: 4 * time.Second}},
		"1ms early":   {End: &liveness.Error{Reason: liveness.Silent, Age: 21999 * time.Millisecond}},
		"late":        {End: e.End, Late: Ticks + Scheduling + 1},
		"want silent": {End: &liveness.Error{Reason: liveness.FixedDeadline, Silence: 4 * time.Second}},
	} {
		if got := s.wrong(e); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Every part can be started at every speed.
func TestEveryPartOpensAtEverySpeed(t *testing.T) {
	for _, speed := range []float64{0.1, 1, 40} {
		for _, p := range Parts() {
			s, err := open(t.Context(), p, speed)
			if err != nil {
				t.Fatal(err)
			}
			if conn, err := (&liveness.Client{NoBeat: true}).Dial(t.Context(), s.client, s.addr); err == nil {
				conn.Close() // a busy machine may fail to dial in time
			}
			if err := s.close(); err != nil {
				t.Errorf("%s, %s, speed %v: %v", p.Transport, p.Policy, speed, err)
			}
		}
	}
}

func TestPlayIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := Play(ctx, Parts(), 1, func(m Moment) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
