package yamux

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/livenet/livenet/transport"
)

// ErrPingFlood is why a session ended whose peer pinged too often.
var ErrPingFlood = errors.New("yamux: too many pings from the peer")

var errProtocol = errors.New("yamux: the peer broke the protocol")

// errLibrary is why a session ends if the library is not what the wire is made for.
var errLibrary = errors.New("yamux: made for github.com/hashicorp/yamux v0.1.2, which asks for a header at least, " +
	"writes each header alone and, as it is given no data, no body")

// A wire is what the library takes for the connection. Of what comes in the
// library sees each header with a flag: it numbers streams, has them accepted,
// counts the unanswered, and answers pings. What it does badly is kept from it:
// data and windows are the streams' own, and the flags that go out.
//
// Read is called by the library's receiving goroutine only, Write by its sending
// one, and Close once.
type wire struct {
	session *session
	conn    transport.Stream
	parity  uint32 // of the numbers of the streams opened here
	out     sendQueue

	// Read's: the frame that is coming in.
	in        reader
	to        *stream   // whose it is; nil: of none that is known
	body      uint32    // bytes to come
	fin       bool      // the peer ends its half with it
	opened    *stream   // the library is hearing of it
	pinged    time.Time // see takePing
	goingAway bool      // the peer said so, and meant no harm
}

// Read returns a header at a time: when the library asks for the next, it is done
// with that. Bodies go to the streams, as they come in.
func (w *wire) Read(p []byte) (int, error) {
	if len(p) < headerSize {
		return 0, w.fail(errLibrary)
	}
	if w.opened != nil {
		w.session.queue(w.opened)
		w.opened = nil
	}
	for {
		switch piece := w.in.body(w.body); {
		case len(piece) > 0 || w.body == 0 && w.fin:
			w.body -= uint32(len(piece))
			w.deliver(piece)
		case w.body > 0 || !w.in.header():
			if w.in.full {
				runtime.Gosched() // a flood of headers would use up the time slice of each session
			}
			if err := w.in.fill(p); err == io.EOF || w.goingAway && lost(err).Origin == transport.Peer {
				// A reset is the kernel's, since something came in after they had closed.
				return 0, w.fail(&transport.CloseError{Origin: transport.Peer, HasCode: w.goingAway})
			} else if err != nil {
				return 0, w.fail(err)
			}
		default:
			if pass, err := w.receive(w.in.head[:]); err != nil {
				return 0, w.fail(err)
			} else if pass {
				return copy(p, w.in.head[:]), nil
			}
		}
	}
}

// deliver gives the stream a piece of the body, or FIN.
func (w *wire) deliver(piece []byte) {
	if w.to == nil {
		return
	}
	w.session.mu.Lock()
	defer w.session.unlock()
	if w.to.receive(piece); w.body == 0 && w.fin { // after the last byte
		w.to.stop(peerFIN, io.EOF)
		w.to.move(peerFIN, 0)
		w.fin = false
	}
}

// receive looks at a header that came in, and says whether it is for the library.
func (w *wire) receive(h header) (pass bool, err error) {
	switch {
	case !h.valid():
		return false, errProtocol
	case h.ofStream():
		return w.receiveStream(h)
	case h.typ() == typeGoAway && h.length() > 0:
		return false, &transport.CloseError{Origin: transport.Peer, HasCode: true, Code: uint64(h.length())}
	case h.typ() == typeGoAway: // the peer may live long after it
		w.goingAway = true
	case h.has(flagSYN) && !w.takePing(time.Now()):
		return false, ErrPingFlood
	}
	return true, nil
}

func (w *wire) receiveStream(h header) (pass bool, err error) {
	w.session.mu.Lock()
	defer w.session.unlock()
	s := w.session.streams[h.id()]
	if h.has(flagSYN) {
		// The number may be that of the next stream opened here, or of one that
		// is there already, and the library would take the one for the other.
		if s != nil || h.id() == 0 || h.id()%2 == w.parity {
			return false, errProtocol
		}
		s = w.session.add(h.id())
		w.opened = s
	}
	w.to, w.body, w.fin = s, h.body(), s != nil && h.has(flagFIN)
	switch {
	case s == nil: // it was reset here, most likely
		return false, nil
	case w.body > s.recvWindow:
		return false, errProtocol
	}
	flags := h.flags()
	if flags&(flagACK|flagFIN|flagRST) != 0 && s.answered() {
		flags |= flagACK // for the library counts them, too
	}
	if flags&flagRST != 0 && s.state != closed {
		code := h.length() - w.body // none comes with Data, and 0 says none
		s.end(peerReset, &transport.CloseError{Origin: transport.Peer, Reset: true, HasCode: code > 0, Code: uint64(code)})
	} else if h.typ() == typeWindowUpdate {
		s.sendWindow += h.length()
		s.openWindow()
		s.w.bell.signal()
	}
	copy(h, newHeader(typeWindowUpdate, flags, h.id(), 0))
	return flags != 0, nil
}

// Write takes what the library sends. It does not wait for the connection.
func (w *wire) Write(p []byte) (int, error) {
	h := header(p)
	if len(p) != headerSize || !h.valid() || h.body() > 0 {
		return 0, w.fail(fmt.Errorf("%w; this one wrote %d bytes: %.12x", errLibrary, len(p), p))
	}
	if !h.ofStream() {
		w.session.mu.Lock()
		defer w.session.unlock()
		w.out.put(h, nil)
	}
	return len(p), nil
}

// fail makes err the session's cause, if there is none, and returns it to the library.
func (w *wire) fail(err error) error {
	w.session.cancel(lost(err))
	return err
}

// sendFailed gives Read a moment to find the end, and what the peer has said of it.
func (w *wire) sendFailed(err error) {
	if w.session.ctx.Err() != nil {
		return
	}
	time.AfterFunc(closeTimeout, func() {
		w.fail(err)
		w.conn.Reset(0) // the peer does not take what the kernel has
	})
}

// Close is called by the library when the session ends, for whatever reason.
func (w *wire) Close() error {
	w.fail(errProtocol) // unless there is a cause: the library has no other
	cause := context.Cause(w.session.ctx).(*transport.CloseError)
	w.session.end(cause)
	w.out.close()
	if cause.Origin == transport.Lost && cause.Fault != transport.ProtocolError { // of which TLS may have told the peer
		w.conn.Reset(0)
	}
	return w.session.inner.Close(cause.Code, cause.Text)
}

// lost says in the words of package transport why a connection failed, if it does
// not do so itself.
func lost(err error) *transport.CloseError {
	if ce, ok := errors.AsType[*transport.CloseError](err); ok {
		return ce
	}
	return &transport.CloseError{Origin: transport.Lost, Fault: faultIn(err), Err: err}
}

func faultIn(err error) transport.Fault {
	switch {
	case errors.Is(err, errProtocol):
		return transport.ProtocolError
	case errors.Is(err, ErrPingFlood):
		return transport.Flood
	case errors.Is(err, errPeerStuck):
		return transport.WriteBlocked
	}
	return transport.Unknown
}

const (
	pingBurst    = 64
	pingInterval = time.Second / 32
)

// takePing takes a token from a bucket, which is full at pinged, if there is one.
func (w *wire) takePing(now time.Time) bool {
	if w.pinged.Before(now) {
		w.pinged = now
	}
	w.pinged = w.pinged.Add(pingInterval)
	return w.pinged.Sub(now) <= pingBurst*pingInterval
}
