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

// ErrNoPolicy is returned by Accept and Serve where no policy is set: a
// listener without one would hold dead connections for ever.
var ErrNoPolicy = errors.New("liveness: a listener needs a policy")

// An Initiator is the end that gave the reason for which a session or a stream ended; of
// [Done], and of [PeerClosed] where the codec doesn't mark the end of data, the end whose
// data ended first: of a session, on the stream whose data ended last. If both end theirs
// at once, each names itself.
type Initiator uint8

const (
	Local Initiator = iota // this end
	Peer
)

func (i Initiator) String() string {
	if i == Peer {
		return "peer"
	}
	return "local"
}

// Error is how a session or stream ended. Once that has happened Read and Write
// return it; it is the cause of the handler's context; and events carry it.
//
// errors.Is finds its Reason, and net.ErrClosed if this end ended it, or it is Done. Timeout is
// false: a loop that goes on after a timeout must not go on after an end.
type Error struct {
	Reason    Reason
	Initiator Initiator
	Age       time.Duration // from the grant to the end
	Silence   time.Duration // from the last evidence of the peer to the end
	Late      time.Duration // from the deadline to the verdict, where one passed
	Text      string        // what the peer had to say
	Err       error         // what was found beneath, if anything
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

// Claimed reports whether the reason is one that the peer has named. It is free to name
// any, so such ends are counted apart.
func (e *Error) Claimed() bool { return e.Initiator == Peer && !e.Reason.observed() }

// detail is what an underlying error adds to the reason. A transport's
// CloseError says who ended it, which has been said, so only what the library or
// the kernel told it counts.
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

// Timeout is false: the connection has ended, and no later deadline brings it back.
func (e *Error) Timeout() bool { return false }

// Temporary is false likewise.
func (e *Error) Temporary() bool { return false }

// Is reports the reason, and the standard errors that e stands for. It is no
// os.ErrDeadlineExceeded, though the error beneath it may be one.
func (e *Error) Is(target error) bool {
	if r, ok := target.(Reason); ok {
		return r == e.Reason
	}
	return target == net.ErrClosed && (e.Initiator == Local || e.Reason == Done) && e.Reason != TransportLost
}

var _ net.Error = (*Error)(nil)

// round cuts a duration to what a reader cares for.
func round(d time.Duration) time.Duration {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond)
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d
}

// explain finds the reason in an error that a transport or a codec returned.
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
		e := *mine // it may be that of another connection, beneath
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
	known, ok := ReasonOf(c.Code)
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

// reasonOfFault is why a transport gives up a peer that has a fault.
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

// explainClose is the reason in a peer's Close frame.
func explainClose(b *codec.Close) *Error {
	r, ok := ReasonOf(b.Code)
	if !ok {
		return &Error{Reason: PeerClosed, Initiator: Peer, Text: withCode(b.Code, b.Text)}
	}
	return &Error{Reason: r, Initiator: Peer, Text: b.Text}
}

// withCode is what the peer had to say with a code that nobody here knows.
func withCode(code uint64, text string) string {
	s := fmt.Sprintf("code %d", code)
	if text != "" {
		s += ": " + text
	}
	return s
}

// isClosed reports whether a listener has been closed.
func isClosed(err error) bool { return errors.Is(err, net.ErrClosed) }
