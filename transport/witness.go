package transport

import "time"

// A Witness is a session that knows when what it has read had arrived. After a
// stall of this process the two may be far apart, and a peer that was read late
// need not be alive.
type Witness interface {
	// LastArrival is when anything at all last arrived from the peer, of what the
	// session has taken from the system. It may be too late, never too early. The
	// zero time says that it isn't known: as long as only a part has been taken of
	// what has lain there, since that is as old as the rest is young.
	LastArrival() time.Time
}
