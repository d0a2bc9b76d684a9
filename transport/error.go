package transport

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// ErrSingleStream is returned by OpenStream when the session's only stream has
// been handed out.
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

// Fault is what a transport found wrong when it gave up a session or stream by itself.
type Fault uint8

const (
	Unknown   Fault = iota // the network, or anything else
	Violation              // the peer broke the transport's protocol, or its handshake made no sense
	Flood                  // the peer asked for more answers than it may
	Stuck                  // the peer does not read what it is sent
	Mute                   // the handshake took too long
	Full                   // this end had no room for what the peer sent
)

// CloseError is how a session or a stream ended. It is the cause of the
// session's context, and what errors.As finds in the errors of its streams.
//
// errors.Is(err, net.ErrClosed) holds when Origin is Local, and
// errors.Is(err, syscall.ECONNRESET) when the peer reset.
type CloseError struct {
	Origin Origin
	Reset  bool   // at once and without ceremony: a TCP RST, a stream reset
	Coded  bool   // Code was carried by the transport, or given by this end
	Code   uint64 // the application's code
	Text   string // the application's words, if any were carried
	Fault  Fault  // if Origin is Lost
	Err    error  // what the library or the kernel said, if anything
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
	if e.Coded {
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

// Is reports the standard errors that e stands for.
func (e *CloseError) Is(target error) bool {
	switch target {
	case net.ErrClosed:
		return e.Origin == Local
	case syscall.ECONNRESET:
		return e.Origin == Peer && e.Reset
	}
	return false
}

// Timeout is false: what ends a session for good is not a deadline that could
// be moved. It hides a Timeout method that the wrapped error may have.
func (e *CloseError) Timeout() bool { return false }

// Temporary is false, as [net.Error] asks for it.
func (e *CloseError) Temporary() bool { return false }

var _ net.Error = (*CloseError)(nil)
