package gateway

import "time"

// How long an upstream rests after a dial that failed: the first time, and at most. It
// doubles with each failure in a row.
const (
	firstRest = 500 * time.Millisecond
	longRest  = 30 * time.Second
)

// An upstream is an address, and what is known of it.
type upstream struct {
	Address

	active   int // connections, and dials under way
	dialing  int
	picked   uint64    // when it was last picked, in picks
	failures int       // dials in a row
	rests    time.Time // until then; zero: it never failed, or was reached since
	cause    string    // of the latest failure
}

// down reports whether the latest dial failed.
func (u *upstream) down() bool { return u.failures > 0 }

// upstreams are those of one gateway. Its owner is the Gateway, which holds a lock.
type upstreams struct {
	list  []*upstream
	picks uint64
}

// pick returns the upstream for a connection at now: the one with the fewest
// connections among those that don't rest and aren't in tried, and of several such the
// one that was picked least recently. If all of them rest it is the one whose rest ends
// first: a service that has come back is not to be kept from its clients. One that was
// down is tried by one dial at a time, unless there is no other. It returns nil if all
// are in tried.
func (s *upstreams) pick(now time.Time, tried map[*upstream]bool) *upstream {
	var best *upstream
	for _, u := range s.list {
		if !tried[u] && (best == nil || u.before(best, now)) {
			best = u
		}
	}
	if best != nil {
		s.picks++
		best.picked = s.picks
		best.active++
		best.dialing++
	}
	return best
}

// before reports whether u is to be picked rather than v.
func (u *upstream) before(v *upstream, now time.Time) bool {
	if a, b := u.rank(now), v.rank(now); a != b {
		return a < b
	}
	if u.rank(now) == resting && !u.rests.Equal(v.rests) {
		return u.rests.Before(v.rests)
	}
	if u.active != v.active {
		return u.active < v.active
	}
	return u.picked < v.picked
}

// Ranks of upstreams, the best first.
const (
	ready   = iota
	onTrial // it was down, and is being dialled
	resting
)

func (u *upstream) rank(now time.Time) int {
	switch {
	case now.Before(u.rests):
		return resting
	case u.down() && u.dialing > 0:
		return onTrial
	}
	return ready
}

// reached takes note that a dial succeeded. It reports whether u was down before.
func (u *upstream) reached() (news bool) {
	news = u.down()
	u.failures, u.rests, u.cause = 0, time.Time{}, ""
	return news
}

// failed takes note that a dial failed at now. Jitter, from 0 to 1, takes up to half
// off the rest. A failure while u rests doesn't prolong it. It reports whether that is
// news: u was up, or failed for another cause.
func (u *upstream) failed(now time.Time, cause string, jitter float64) (news bool) {
	news = cause != u.cause
	u.cause = cause
	if now.Before(u.rests) {
		return news
	}
	rest := longRest
	if u.failures < 16 { // more would overflow
		rest = min(longRest, firstRest<<u.failures)
	}
	u.failures++
	u.rests = now.Add(rest - time.Duration(jitter*float64(rest/2)))
	return news
}

// resting returns those that rest at now.
func (s *upstreams) resting(now time.Time) (list []*upstream) {
	for _, u := range s.list {
		if u.rank(now) == resting {
			list = append(list, u)
		}
	}
	return list
}
