package liveness

import (
	"time"
)

// A state is the subject of its lease.

func (s *state) Policy() Policy { return s.policy.Load() }

func (s *state) Heard() (ago time.Duration, sure, ok bool) {
	ago, sure, ok = s.owner.lastHeard()
	if since, limited := s.owner.pingable(); limited && (!ok || since < ago) {
		return since, sure, true
	}
	return ago, sure, ok
}

// Arrived has no answer once the application has called Renew: what it saw may not have
// come over this connection.
func (s *state) Arrived() (time.Duration, bool) {
	if c, ok := s.owner.(*Conn); ok && c.bits.Load()&renewedByApp != 0 {
		return 0, false
	}
	return s.owner.tcpSocket().lastData()
}

func (s *state) Probe() bool { return s.owner.probe() }

func (s *state) Expire(x expiry) {
	if p := s.pending.Load(); x.Reason == Silent && p != nil && p.Initiator == Peer && p.Reason != PeerClosed {
		// It was closed or reset by the peer; silence is only the consequence. (An EOF
		// may be a half-close.)
		e := *p
		e.abrupt, e.async = true, true
		s.end(e)
		return
	}
	// Half of it: the peer may have read a little since it was last heard.
	if x.Reason == Silent && s.owner.tcpSocket().zeroWindowFor(x.Silence/2) {
		x.Reason = TooSlow
	}
	s.endAfterHook(ending{
		Error:  Error{Reason: x.Reason, Age: x.Age, Silence: x.Silence, Late: x.Late},
		missed: x.Deadline, async: true, abrupt: x.Reason.abrupt(),
	})
}
