package load

import (
	"testing"
	"time"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/quic"
)

func TestStallJudges(t *testing.T) {
	const timeout = time.Second
	for _, test := range []struct {
		name  string
		trial trial
		want  string
	}{
		{"Well", trial{reaped: 5, reasons: map[string]int{"silent": 5}}, ""},
		{"FalseKill", trial{kills: 1, reaped: 5, reasons: map[string]int{"silent": 6}}, "1 sessions were ended for silence although they beat"},
		// Their clients have not heard of it.
		{"Untold", trial{reaped: 5, reasons: map[string]int{"silent": 7}}, "the server ended 7 sessions for silence, and 5 were silent"},
		{"Late", trial{reaped: 4, reasons: map[string]int{"silent": 5}}, "1 silent sessions were not ended in time"},
		{"Otherwise", trial{reaped: 5, reasons: map[string]int{"silent": 2, "internal": 3}}, "3 sessions were ended, but not for silence: internal"},
		{"Lost", trial{lost: 2, reaped: 5, reasons: map[string]int{"silent": 5}}, "2 sessions that beat were lost"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.trial.protected, test.trial.dead = true, 5
			unprotected := trial{kills: 9, lost: 9, dead: 9, reasons: map[string]int{"internal": 9}}
			r := &stallRun{Stall: &Stall{Timeout: timeout}, trials: []*trial{&test.trial, &unprotected}}
			got := ""
			if err := r.judge(); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got %q", got)
			}
		})
	}
	// One trial's excess does not make up for what another one lacks.
	r := &stallRun{Stall: &Stall{Timeout: timeout}, trials: []*trial{
		{protected: true, dead: 5, reaped: 4, reasons: map[string]int{"silent": 4}},
		{protected: true, dead: 5, reaped: 5, reasons: map[string]int{"silent": 6}},
	}}
	if err := r.judge(); err == nil {
		t.Error("one was ended in a later trial, and that was in time")
	}
}

// A server may be stopped for longer than QUIC would wait for one: the policies
// alone are to judge.
func TestStopsAreBorneBelow(t *testing.T) {
	s := Stall{Transport: "quic", Timeout: 10 * time.Second, Starve: StarveStop, Stops: []float64{0.5, 10}, Trials: 1}
	if d := s.borne(); d != 15*time.Second {
		t.Errorf("half a timeout and one: %v", d)
	}
	s.Trials = 4
	if d := s.borne(); d != 110*time.Second {
		t.Errorf("ten timeouts and one: %v", d)
	}
	id, err := newIdentity(s.Transport)
	if err != nil {
		t.Fatal(err)
	}
	server, _, _, err := newServer(serveOrder{Transport: s.Transport, Codec: "frame", Timeout: s.Timeout, Borne: s.borne(), Identity: id})
	if err != nil {
		t.Fatal(err)
	}
	client, err := newWay(s.Transport, s.borne(), Sources{Count: 1}).to(served{})
	if err != nil {
		t.Fatal(err)
	}
	for end, tr := range map[string]transport.Transport{"server": server, "client": client} {
		if q := tr.(quic.Transport); q.Config.MaxIdleTimeout <= s.borne() {
			t.Errorf("the %s's transport bears %v", end, q.Config.MaxIdleTimeout)
		}
	}
}

// Who was to end in an earlier trial is nobody's of this one.
func TestLateEnds(t *testing.T) {
	var h holding
	h.end(false)
	h.end(true)
	if h.Ended != 2 || len(h.Ends) != 1 {
		t.Errorf("got %+v", h)
	}
}
