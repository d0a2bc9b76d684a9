package transport

import "time"

// A Witness is a session that knows when what it has read had arrived. After a
// stall of this process the two may be far apart, and a peer that was read late
// need not be alive.
type Witness interface {
	// LastArrival is when anything at all last arrived from the peer. It may be too
	// late, never too early, but for what came in the last few milliseconds. The
	// zero time says that it isn't known, for instance since there is more of it
	// than has been looked at.
	LastArrival() time.Time
}
