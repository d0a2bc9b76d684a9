package liveness

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/transport"
)

// ErrNoPolicy is returned by [Listener.Accept] and [Server.Serve] if no policy is set: a listener
// without one would keep dead connections for ever.
var ErrNoPolicy = errors.New("liveness: a listener needs a policy")

// An Initiator is the side that ended a session or stream. For [Done] it is the side whose data
// ended first; likewise for [PeerClosed] with a codec that doesn't mark the end of data. In a
// session of several streams, the stream that ended last decides. If both sides end their data at
// once, each names itself.
type Initiator uint8

const (
	Local Initiator = iota // this side
	Peer                   // the other one
)

func (i Initiator) String() string {
	if i == Peer {
		return "peer"
	}
	return "local"
}

// Error says how a session or stream ended. Read and Write return it from then on. It is the
// cause of the handler's context, and the Closed event has it.
//
// errors.Is finds its Reason, and net.ErrClosed if this side ended the connection or the reason is
// [Done]. Timeout returns false, so that a loop which retries after timeouts stops.
type Error struct {
	Reason    Reason
	Initiator Initiator
	Age       time.Duration // from the grant to the end
	Silence   time.Duration // from the last evidence of the peer to the end
	Late      time.Duration // from the deadline to the verdict; 0 if no deadline has passed
	Text      string        // the text that came with the reason, from CloseWith for instance
	Err       error         // the underlying error; nil: none
}

func (e *Error) Error() string {
	s := "closed: "
	if e.Initiator == Peer {
		s = "closed by peer: "
	}
	s += e.Reason.String()
	switch {
	case e.Initiator == Local && e.Reason == Silent:
		s += " for " + round(e.Silence).String()
	case e.Initiator == Local && e.Reason.expiry():
		s += " after " + round(e.Age).String()
	case e.Text != "":
		s += ": " + e.Text
	default:
		s += detail(e.Err)
	}
	return s
}

// Claimed reports whether the peer named the reason. It may name any, so [Counts] counts such
// ends apart.
func (e *Error) Claimed() bool { return e.Initiator == Peer && !e.Reason.observed() }

// detail formats an underlying error. Of a CloseError it uses only the wrapped error: the rest
// repeats the initiator and the reason.
func detail(err error) string {
	if closed, ok := errors.AsType[*transport.CloseError](err); ok {
		err = closed.Err
	}
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Timeout returns false: a later deadline does not help.
func (e *Error) Timeout() bool { return false }

// Temporary returns false.
func (e *Error) Temporary() bool { return false }

// Is reports whether target is e's Reason, or is net.ErrClosed and e stands for it: see [Error].
func (e *Error) Is(target error) bool {
	if r, ok := target.(Reason); ok {
		return r == e.Reason
	}
	return target == net.ErrClosed && (e.Initiator == Local || e.Reason == Done) && e.Reason != TransportLost
}

var _ net.Error = (*Error)(nil)

// round rounds a duration for a message.
func round(d time.Duration) time.Duration {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond)
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d
}

// explain converts an error of a transport or a codec.
func explain(err error) *Error {
	var (
		mine   *Error
		closed *transport.CloseError
		broken *codec.Error
	)
	switch {
	case err == nil:
		return &Error{Reason: Done}
	case errors.As(err, &mine):
		e := *mine // a copy, since it may belong to an underlying Conn
		return &e
	case errors.As(err, &broken):
		r := ProtocolError
		if broken.TooLarge {
			r = TooLarge
		}
		return &Error{Reason: r, Text: broken.Text, Err: err}
	case errors.As(err, &closed):
		return explainCloseError(closed)
	case errors.Is(err, io.EOF):
		return &Error{Reason: PeerClosed, Initiator: Peer}
	case transport.IsReset(err):
		return &Error{Reason: PeerReset, Initiator: Peer, Err: err}
	case errors.Is(err, net.ErrClosed):
		return &Error{Reason: Done, Err: err}
	}
	return &Error{Reason: TransportLost, Err: err}
}

func explainCloseError(c *transport.CloseError) *Error {
	e := &Error{Text: c.Text, Err: c}
	known, ok := reasonOf(c.Code)
	if c.HasCode && !ok {
		e.Text = withCode(c.Code, c.Text)
	}
	switch {
	case c.Origin == transport.Lost:
		e.Reason = reasonOfFault(c.Fault)
	case c.HasCode && ok:
		e.Reason = known
	case c.Origin == transport.Local:
		e.Reason = Done
	case c.Reset:
		e.Reason = PeerReset
	default:
		e.Reason = PeerClosed
	}
	if c.Origin == transport.Peer {
		e.Initiator = Peer
	}
	return e
}

// reasonOfFault returns the reason for a fault for which a transport closed the connection.
func reasonOfFault(f transport.Fault) Reason {
	switch f {
	case transport.ProtocolError:
		return ProtocolError
	case transport.Flood:
		return TooManyBeats
	case transport.WriteBlocked:
		return TooSlow
	case transport.HandshakeTimeout:
		return NoHello
	case transport.BufferFull:
		return Overload
	}
	return TransportLost
}

// explainClose converts a peer's Close frame.
func explainClose(b *codec.Close) *Error {
	r, ok := reasonOf(b.Code)
	if !ok {
		return &Error{Reason: PeerClosed, Initiator: Peer, Text: withCode(b.Code, b.Text)}
	}
	return &Error{Reason: r, Initiator: Peer, Text: b.Text}
}

// withCode returns the text of a peer's close with an unknown code.
func withCode(code uint64, text string) string {
	s := fmt.Sprintf("code %d", code)
	if text != "" {
		s += ": " + text
	}
	return s
}

// isClosed reports whether a listener has been closed.
func isClosed(err error) bool { return errors.Is(err, net.ErrClosed) }
