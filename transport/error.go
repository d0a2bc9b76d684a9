package transport

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// ErrSingleStream is returned by OpenStream when the session's only stream has been
// opened or accepted before.
var ErrSingleStream = errors.New("transport: a session of this transport is one stream")

// Origin says who ended a session or a stream.
type Origin uint8

const (
	Local Origin = iota // this end called Close or Reset
	Peer                // the peer did
	Lost                // neither: the transport gave up by itself
)

func (o Origin) String() string {
	switch o {
	case Local:
		return "local"
	case Peer:
		return "peer"
	default:
		return "lost"
	}
}

// Fault says why a transport closed a session or stream by itself.
type Fault uint8

const (
	Unknown          Fault = iota // a network error, or anything else
	ProtocolError                 // the peer broke the transport's protocol, or its handshake was invalid
	Flood                         // the peer sent too many requests that need an answer, such as pings
	WriteBlocked                  // the peer does not read what it is sent
	HandshakeTimeout              // the handshake took too long
	BufferFull                    // this end had no memory left for the peer's data
)

// CloseError says how a session or a stream ended. It is the cause of the session's
// context, and errors.As finds it in the errors of the session's streams.
//
// errors.Is(err, net.ErrClosed) holds when Origin is Local, and
// errors.Is(err, syscall.ECONNRESET) when the peer reset.
type CloseError struct {
	Origin  Origin
	Reset   bool   // a TCP RST or a stream reset: unsent and unread data is lost
	HasCode bool   // Code is set: the transport carried it, or this end gave it
	Code    uint64 // the application's code
	Text    string // the application's text, if the transport carries one
	Fault   Fault  // set if Origin is Lost
	Err     error  // the library's or the kernel's error; may be nil
}

func (e *CloseError) Error() string {
	s := "closed"
	if e.Reset {
		s = "reset"
	}
	switch e.Origin {
	case Local:
		s += " by this end"
	case Peer:
		s += " by the peer"
	case Lost:
		s = "lost"
	}
	if e.HasCode {
		s += fmt.Sprintf(" (code %d)", e.Code)
	}
	if e.Text != "" {
		s += fmt.Sprintf(": %s", e.Text)
	} else if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *CloseError) Unwrap() error { return e.Err }

// Is matches net.ErrClosed if this end closed, and syscall.ECONNRESET if the peer reset.
func (e *CloseError) Is(target error) bool {
	switch target {
	case net.ErrClosed:
		return e.Origin == Local
	case syscall.ECONNRESET:
		return e.Origin == Peer && e.Reset
	}
	return false
}

// Timeout is false: the session or stream has ended, and moving a deadline can't help. It
// hides the Timeout method of the wrapped error.
func (e *CloseError) Timeout() bool { return false }

// Temporary is false. [net.Error] requires the method.
func (e *CloseError) Temporary() bool { return false }

var _ net.Error = (*CloseError)(nil)
