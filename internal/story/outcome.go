package story

import (
	"fmt"
	"time"

	"github.com/livenet/livenet/liveness"
)

// An Outcome is how a part ended, as its server measured it.
type Outcome struct {
	Expected time.Duration
	Measured time.Duration // from accept
	Late     time.Duration // real time, from the true deadline to the end of closing
	Reason   liveness.Reason
	Told     liveness.Reason // what the client got to know
	Wrong    string          // what was not as it should be; empty: all was
}

// Allowance is how late a connection may be closed: the engine's two ticks, and
// what a busy machine takes to run whoever does it.
const (
	Ticks      = 2 * liveness.DefaultTick
	Scheduling = 80 * time.Millisecond
)

// outcome waits for the server's word, and holds the end against the promise.
func (s *stage) outcome() Outcome {
	o := Outcome{Expected: s.part.End()}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case e := <-s.closed:
		o.Measured, o.Late, o.Reason = scale(e.End.Age, s.speed), e.Late, e.End.Reason
		o.Told = s.conn.End().Reason
		o.Wrong = s.wrong(e)
	case <-timer.C:
		o.Wrong = "the server did not end it"
	}
	return o
}

// patience is how long the server's word may take once the client knows.
const patience = 5 * time.Second

// wrong is what is not as promised about an end.
func (s *stage) wrong(e liveness.Event) string {
	switch early := scale(s.part.End(), 1/s.speed) - e.End.Age; {
	case e.End.Reason != s.part.Reason():
		return fmt.Sprintf("want %v", s.part.Reason())
	case s.part.sliding && (s.sent < Beats || s.heard.Load() < s.bytes):
		return fmt.Sprintf("ended after %d beats of %d, and %d bytes of %d: %s", s.sent, Beats, s.heard.Load(), s.bytes, wrongBusy)
	case early > 0: // accepted it was before the client's script began
		return fmt.Sprintf("%v early", early)
	case e.Late > Ticks+Scheduling:
		return wrongLate
	case s.sent < s.part.heard():
		return fmt.Sprintf("ended after %d beats of %d: %s", s.sent, s.part.heard(), wrongBusy)
	}
	return ""
}

// What a busy machine is an excuse for.
const (
	wrongLate = "late"
	wrongBusy = "this machine is too busy for this speed"
)
