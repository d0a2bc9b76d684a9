package liveness

import "time"

// stallTicks is how many ticks without a wake-up count as a stall: this process did not run,
// or did not get enough processor time.
const stallTicks = 4

// maxDeferred bounds how often a judgement is deferred after stalls while a peer stays silent:
// a process that stalls again and again must still end dead peers.
const maxDeferred = 3

// A stall is the latest period in which this process did not run, on the engine's clock. It is
// not held against the peers: what they sent meanwhile may still be unread.
type stall struct {
	resumed      time.Duration // when it ended
	length       time.Duration // 0: there was none
	affectedFrom time.Duration // input that is read from then on may have arrived during the stall, or one just before
}

// record records a stall that ended now and lasted up to length, of which certain is known for
// sure. If the grace period of an earlier stall is not over, the rest of it adds to certain.
func (s *stall) record(now, length, certain time.Duration) {
	left := max(0, s.resumed+s.length-now)
	if left == 0 {
		s.affectedFrom = now
	}
	s.resumed, s.length = now, max(length, left+certain)
}

// covers reports whether input that was read at time at may have arrived during the stall:
// reading it all is assumed to take as long as the stall did.
func (s *stall) covers(at time.Duration) bool {
	return at >= s.affectedFrom && at <= s.resumed+s.length
}

// A suspect is a peer whose deadline has passed.
type suspect struct {
	age      time.Duration // since the grant
	silence  time.Duration
	timeout  time.Duration // of the policy
	granted  time.Duration // on the engine's clock
	doubt    bool          // it may have been heard, or a stall may have prevented that
	deferred int           // judgements deferred since it was last heard
}

// grace returns the age until which x's judgement is deferred; 0: it is not.
func (s *stall) grace(x suspect) (until time.Duration) {
	grace := min(s.length, x.timeout/2)
	if x.deferred > 0 && s.length < x.timeout && x.silence >= 2*x.timeout {
		// It has been silent for two timeouts, and had a grace period before. Only what
		// arrived during the latest stall is unread: wait until the next tick for that.
		grace = min(grace, 1)
	}
	until = s.resumed + grace - x.granted
	if s.length == 0 || !x.doubt || until <= x.age || x.deferred >= maxDeferred {
		return 0
	}
	return until
}
