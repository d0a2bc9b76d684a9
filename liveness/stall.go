package liveness

import "time"

// stallTicks is how many ticks without a wake-up make a stall: something kept
// this process, or this goroutine, from running, and the goroutines that read
// from peers with it.
const stallTicks = 4

// maxDeferred bounds how often a judgement is put off because of our own stalls while a
// peer stays silent: a process that stalls again and again must still end dead peers.
const maxDeferred = 3

// A stall is the latest time in which this process did not run, on the engine's clock.
// Our own stall is not the peer's silence: what came during it may still be unread.
type stall struct {
	resumed      time.Duration // when it ended
	length       time.Duration // how long it was; 0: there was none
	affectedFrom time.Duration // since when what is read may have come during it, or one just before
}

// record records that the process has not run until now: for certain, and perhaps for
// length. What is left of an earlier stall's grace adds to what is certain of it.
func (s *stall) record(now, length, certain time.Duration) {
	left := max(0, s.resumed+s.length-now)
	if left == 0 {
		s.affectedFrom = now
	}
	s.resumed, s.length = now, max(length, left+certain)
}

// covers reports whether what was read at may have arrived during the stall: it takes
// as long as the stall was to catch up.
func (s *stall) covers(at time.Duration) bool {
	return at >= s.affectedFrom && at <= s.resumed+s.length
}

// A suspect is a peer whose deadline has passed.
type suspect struct {
	age      time.Duration // since the grant
	silence  time.Duration
	timeout  time.Duration // the silence that it may keep
	granted  time.Duration // on the engine's clock
	doubt    bool          // it may have been heard since, or kept from it by a stall
	deferred int           // how often its judgement was put off, since it was last heard
}

// grace returns the age until which x's judgement is put off; 0: it is due.
func (s *stall) grace(x suspect) (until time.Duration) {
	grace := min(s.length, x.timeout/2)
	if x.deferred > 0 && s.length < x.timeout && x.silence >= 2*x.timeout {
		// It has been silent for twice as long as it may be, and was waited for before.
		// Only what has come during the latest stall is still to be read, by the next tick.
		grace = min(grace, 1)
	}
	until = s.resumed + grace - x.granted
	if s.length == 0 || !x.doubt || until <= x.age || x.deferred >= maxDeferred {
		return 0
	}
	return until
}
