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

	ClientReason liveness.Reason // the reason that the client received
	Wrong        string          // what differs from the promise; empty if nothing does
}

// A connection may be closed late by the engine's two ticks, and by a busy machine's
// scheduling.
const (
	Ticks      = 2 * liveness.DefaultTick
	Scheduling = 80 * time.Millisecond
)

// outcome waits for the server's closed event, and compares it with the promise.
func (s *stage) outcome() Outcome {
	o := Outcome{Expected: s.part.End()}
	timer := time.NewTimer(eventTimeout)
	defer timer.Stop()
	select {
	case e := <-s.closed:
		o.Measured, o.Late, o.Reason = scale(e.End.Age, s.speed), e.Late, e.End.Reason
		o.ClientReason = s.conn.End().Reason
		o.Wrong = s.wrong(e)
	case <-timer.C:
		o.Wrong = "the server did not end it"
	}
	return o
}

// eventTimeout is how long after the client's end the server's event may come.
const eventTimeout = 5 * time.Second

// wrong returns how the end differs from the promise, or "".
func (s *stage) wrong(e liveness.Event) string {
	switch early := scale(s.part.End(), 1/s.speed) - e.End.Age; {
	case e.End.Reason != s.part.Reason():
		return fmt.Sprintf("want %v", s.part.Reason())
	case s.part.sliding && (s.sent < Beats || s.heard.Load() < s.bytes):
		return fmt.Sprintf("ended after %d beats of %d, and %d bytes of %d: %s", s.sent, Beats, s.heard.Load(), s.bytes, wrongBusy)
	case early > 0: // the server accepts before the client's script begins, so age can only be longer
		return fmt.Sprintf("%v early", early)
	case e.Late > Ticks+Scheduling:
		return wrongLate
	case s.sent < s.part.heard():
		return fmt.Sprintf("ended after %d beats of %d: %s", s.sent, s.part.heard(), wrongBusy)
	}
	return ""
}

// Differences that a busy machine can cause.
const (
	wrongLate = "late"
	wrongBusy = "this machine is too busy for this speed"
)
