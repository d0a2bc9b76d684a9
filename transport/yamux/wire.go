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

// ErrPingFlood is the error of a session that ended because the peer pinged too often.
var ErrPingFlood = errors.New("yamux: too many pings from the peer")

var errProtocol = errors.New("yamux: the peer broke the protocol")

// errLibrary ends a session if the library does not behave like the version that the wire
// is made for.
var errLibrary = errors.New("yamux: made for github.com/hashicorp/yamux v0.1.2, which asks for a header at least, " +
	"writes each header alone and, as it is given no data, no body")

// A wire is the connection that the library gets. It passes only headers with a flag, and
// pings, on to the library, which chooses stream IDs, queues streams to be accepted, counts
// unacknowledged ones, and answers pings. Data, windows and outgoing flags are handled
// here: the library would block on them, ignore deadlines, and could not reset.
//
// Read is called by the library's receiving goroutine only, Write by its sending one, and
// Close once.
type wire struct {
	session *session
	conn    transport.Stream
	parity  uint32 // of the IDs of the streams opened here
	out     sendQueue

	// The frame being received; used by Read only.
	in        reader
	to        *stream   // the frame's stream; nil if there is none with its ID
	body      uint32    // bytes of the body still to come
	fin       bool      // the frame has FIN
	opened    *stream   // opened by the header that Read returned last
	pinged    time.Time // see takePing
	goingAway bool      // the peer has sent a Go Away without an error
}

// Read returns one header. When the library calls it again, it has processed the last one.
// Bodies go to the streams as they come in.
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
				runtime.Gosched() // otherwise a flood of headers uses up a time slice in each session
			}
			if err := w.in.fill(p); err == io.EOF || w.goingAway && closeError(err).Origin == transport.Peer {
				// A RST after Go Away comes from the peer's kernel, which got data after the close.
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

// deliver passes a piece of the body, or FIN, to the stream.
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

// receive processes a header, and reports whether to pass it on to the library.
func (w *wire) receive(h header) (pass bool, err error) {
	switch {
	case !h.valid():
		return false, errProtocol
	case h.ofStream():
		return w.receiveStream(h)
	case h.typ() == typeGoAway && h.length() > 0:
		return false, &transport.CloseError{Origin: transport.Peer, HasCode: true, Code: uint64(h.length())}
	case h.typ() == typeGoAway: // open streams may go on for long
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
		// The ID must be neither one of this end's nor one in use: the library would
		// mix up the streams.
		if s != nil || h.id() == 0 || h.id()%2 == w.parity {
			return false, errProtocol
		}
		s = w.session.add(h.id())
		w.opened = s
	}
	w.to, w.body, w.fin = s, h.body(), s != nil && h.has(flagFIN)
	switch {
	case s == nil: // most likely it was reset here
		return false, nil
	case w.body > s.recvWindow:
		return false, errProtocol
	}
	flags := h.flags()
	if flags&(flagACK|flagFIN|flagRST) != 0 && s.acked() {
		flags |= flagACK // the library counts unacknowledged streams, too
	}
	if flags&flagRST != 0 && s.state != closed {
		code := h.length() - w.body // 0, which means none, in a Data frame
		s.end(peerReset, &transport.CloseError{Origin: transport.Peer, Reset: true, HasCode: code > 0, Code: uint64(code)})
	} else if h.typ() == typeWindowUpdate {
		s.sendWindow += h.length()
		s.openWindow()
		s.w.changed.signal()
	}
	copy(h, newHeader(typeWindowUpdate, flags, h.id(), 0))
	return flags != 0, nil
}

// Write queues the pings and Go Aways that the library sends, and drops its stream frames.
// It does not block.
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

// fail ends the session with err, unless it has ended, and returns err.
func (w *wire) fail(err error) error {
	w.session.cancel(closeError(err))
	return err
}

// sendFailed ends the session because writing has failed. It waits a moment, since Read may
// find the peer's Go Away, which has the reason.
func (w *wire) sendFailed(err error) {
	if w.session.ctx.Err() != nil {
		return
	}
	time.AfterFunc(closeTimeout, func() {
		w.fail(err)
		w.conn.Reset(0) // the peer does not read what the kernel would still send
	})
}

// Close is called by the library when the session ends, for whatever reason.
func (w *wire) Close() error {
	w.fail(errProtocol) // if there is no cause yet, the library found a violation
	cause := context.Cause(w.session.ctx).(*transport.CloseError)
	w.session.end(cause)
	w.out.close()
	if cause.Origin == transport.Lost && cause.Fault != transport.ProtocolError { // then TLS may have sent an alert
		w.conn.Reset(0)
	}
	return w.session.inner.Close(cause.Code, cause.Text)
}

// closeError returns the CloseError in err, or makes one with Origin Lost.
func closeError(err error) *transport.CloseError {
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
	case errors.Is(err, errPeerBlocked):
		return transport.WriteBlocked
	}
	return transport.Unknown
}

const (
	pingBurst    = 64
	pingInterval = time.Second / 32
)

// takePing reports whether the peer may ping now. It is a token bucket of pingBurst tokens,
// which is full from the time pinged on.
func (w *wire) takePing(now time.Time) bool {
	if w.pinged.Before(now) {
		w.pinged = now
	}
	w.pinged = w.pinged.Add(pingInterval)
	return w.pinged.Sub(now) <= pingBurst*pingInterval
}
