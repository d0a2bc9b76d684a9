package liveness_test

import (
	"errors"
	"net"
	"testing"

	. "github.com/livenet/livenet/liveness"
)

func TestEventString(t *testing.T) {
	addr := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 7373}
	for want, e := range map[string]Event{
		"listening 192.0.2.1:7373":                         {What: Listening, Addr: addr},
		"opened session 7 with 192.0.2.1:7373: sliding 4s": {What: Opened, ID: 7, Remote: addr, Policy: "sliding 4s"},
		"opened stream 8 of session 7 with 192.0.2.1:7373": {What: Opened, ID: 8, Session: 7, Kind: KindStream, Remote: addr},
		"closed session 7 with 192.0.2.1:7373: silent for 4s": {
			What: Closed, ID: 7, Remote: addr, Policy: "sliding 4s", End: &Error{Reason: Silent, Silence: 4 * sec, Age: 9 * sec},
		},
		"closed stream 8 of session 7: by peer: kicked: enough": {
			What: Closed, ID: 8, Session: 7, Kind: KindStream, End: &Error{Reason: Kicked, Initiator: Peer, Text: "enough"},
		},
		"closed session 9: by peer: kicked: see ?[2J": {
			What: Closed, ID: 9, End: &Error{Reason: Kicked, Initiator: Peer, Text: "see \x1b[2J\nopened session 10"},
		},
		"accept-failed: too many open files": {What: AcceptFailed, Err: errors.New("too many open files")},
		"draining 192.0.2.1:7373":            {What: DrainBegan, Addr: addr},
	} {
		if got := e.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
