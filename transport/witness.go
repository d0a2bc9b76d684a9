package transport

import "time"

// A Witness is a session that knows when what it has read had arrived. After a
// stall of this process the two may be far apart, and a peer that was read late
// need not be alive.
type Witness interface {
	// LastArrival is when anything at all last arrived from the peer. It may be too
	// late, never too early: it must not be told while more may have arrived than
	// is known. The zero time says that it isn't known.
	LastArrival() time.Time
}
