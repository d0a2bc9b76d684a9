package liveness

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A Reason is why a session or a stream ended. The list is complete: errors, the wire, logs and
// metrics use these reasons and no others. The numbers below 64 are stable on the wire (see
// docs/protocol.md).
type Reason uint8

// Reasons that can be sent to the peer.
const (
	Done           Reason = iota // the application had finished
	FixedDeadline                // the fixed time from accept had passed
	Silent                       // nothing was heard for the timeout
	Aged                         // the maximum age was reached
	NoHello                      // nothing was heard in the opening phase
	TooSlow                      // the peer did not read what was sent to it
	TooManyBeats                 // heartbeats came faster than allowed
	ProtocolError                // the peer broke the codec's rules
	TooLarge                     // a message exceeded the limit
	Overload                     // this end had no room for more
	Kicked                       // an operator ended it
	Draining                     // this end is going away
	Superseded                   // a newer session of the same peer took its place
	Internal                     // this end failed
	UpstreamFailed               // the server behind this end can't be reached, or failed
	NoTunnel                     // no such service, or no tunnel that publishes it
	Unauthorized                 // the peer is not authorized
)

// Reasons that are observed and never sent.
const (
	PeerClosed    Reason = 64 + iota // the peer closed without a reason; with frames: before its data was complete
	PeerReset                        // the peer or its kernel reset the connection
	TransportLost                    // the transport failed or timed out
)

var reasonNames = map[Reason]string{
	Done:           "done",
	FixedDeadline:  "fixed-deadline",
	Silent:         "silent",
	Aged:           "max-age",
	NoHello:        "no-hello",
	TooSlow:        "too-slow",
	TooManyBeats:   "too-many-beats",
	ProtocolError:  "protocol-error",
	TooLarge:       "too-large",
	Overload:       "overload",
	Kicked:         "kicked",
	Draining:       "draining",
	Superseded:     "superseded",
	Internal:       "internal",
	UpstreamFailed: "upstream-failed",
	NoTunnel:       "no-tunnel",
	Unauthorized:   "unauthorized",
	PeerClosed:     "peer-closed",
	PeerReset:      "peer-reset",
	TransportLost:  "transport-lost",
}

// AppReason returns reason n, from 0 to 127, of those whose meaning the application defines.
// Its name is app-n. AppReason panics for any other n.
func AppReason(n int) Reason {
	if n < 0 || n >= appReasons {
		panic(fmt.Sprintf("liveness: AppReason(%d): there are %d", n, appReasons))
	}
	return firstApp + Reason(n)
}

// The reasons of the application are the upper half of all.
const (
	firstApp   Reason = 128
	appReasons int    = 128
)

// String returns the reason's name.
func (r Reason) String() string {
	if r >= firstApp {
		return fmt.Sprintf("app-%d", r-firstApp)
	}
	if s, ok := reasonNames[r]; ok {
		return s
	}
	return fmt.Sprintf("reason-%d", uint8(r))
}

// Error makes a Reason a target of errors.Is: errors.Is(err, liveness.Silent).
func (r Reason) Error() string { return r.String() }

// MarshalText returns the reason's name, for JSON and the like.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText sets r to the reason with that name. It returns an error if there is none.
func (r *Reason) UnmarshalText(text []byte) error {
	for k, s := range reasonNames {
		if s == string(text) {
			*r = k
			return nil
		}
	}
	if digits, ok := strings.CutPrefix(string(text), "app-"); ok {
		if n, err := strconv.ParseUint(digits, 10, 8); err == nil && n < uint64(appReasons) {
			*r = AppReason(int(n))
			return nil
		}
	}
	return fmt.Errorf("liveness: no reason is named %q", text)
}

// Code returns the reason's number on the wire. It is that of [Done] for the reasons that are
// never sent, such as [PeerReset].
func (r Reason) Code() uint64 {
	if r.observed() {
		return uint64(Done)
	}
	return uint64(r)
}

// observed reports whether r is only observed, and never sent.
func (r Reason) observed() bool { return r >= PeerClosed && r < firstApp }

// reasonOf returns the reason of a code on the wire; false: the code is unknown.
func reasonOf(code uint64) (Reason, bool) {
	known := code <= uint64(Unauthorized) || code >= uint64(firstApp) && code <= math.MaxUint8
	return Reason(code), known
}

// expiry reports whether r is a deadline that has passed.
func (r Reason) expiry() bool {
	switch r {
	case FixedDeadline, Silent, Aged, NoHello:
		return true
	}
	return false
}

// fault reports whether r is an error, so that this end's data may be truncated.
func (r Reason) fault() bool {
	switch r {
	case TooManyBeats, ProtocolError, TooLarge, Internal, UpstreamFailed, NoTunnel, Unauthorized:
		return true
	}
	return false
}

// abrupt reports whether a connection that ends for r is reset without a linger. Otherwise the
// kernel would retransmit its send queue for minutes.
func (r Reason) abrupt() bool { return r == Silent || r == TooSlow }
