package load

import (
	"testing"
	"time"
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

// Who was to end in an earlier trial is nobody's of this one.
func TestLateEnds(t *testing.T) {
	var h holding
	h.end(false)
	h.end(true)
	if h.Ended != 2 || len(h.Ends) != 1 {
		t.Errorf("got %+v", h)
	}
}
