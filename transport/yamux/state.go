package yamux

// A state is the state of a stream on the wire, modelled on RFC 9113, section 5.1:
//
//	     ┌── CloseWrite ──▶ halfClosedLocal ─── peer's FIN ─────────▶ closed
//	     │                         │ Close
//	open ├── Close ───────▶ lingering ───────── peer's FIN ─────────▶ closed
//	     │
//	     └── peer's FIN ──▶ halfClosedRemote ── CloseWrite, Close ──▶ closed
//
// A reset by either end closes the stream in any state, and so does the end of
// the session.
type state uint8

const (
	open state = iota
	halfClosedLocal
	halfClosedRemote
	lingering // closed here, and the peer has not ended its direction
	closed    // on the wire; there may be unread input
)

// An event moves a stream from one state to another.
type event uint8

const (
	closeWrite event = iota
	closeBoth
	reset // by this end
	peerFIN
	peerReset
	sessionEnd
)

// on returns the state after e.
func (s state) on(e event) state {
	switch {
	case e == reset || e >= peerReset:
		return closed
	case s == open && e == closeWrite:
		return halfClosedLocal
	case s == open && e == peerFIN:
		return halfClosedRemote
	case (s == open || s == halfClosedLocal) && e == closeBoth:
		return lingering
	case s == halfClosedRemote && e != peerFIN, (s == halfClosedLocal || s == lingering) && e == peerFIN:
		return closed
	}
	return s
}
