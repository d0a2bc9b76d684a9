package liveness

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/transport"
)

// A reader decodes frames. It does so in the buffer that the application reads into, so an
// idle connection holds no buffer. Its methods are called with the Conn's readLock held.
type reader struct {
	conn      *Conn
	framed    *framed
	rest      *leftover   // data that the application's buffer was too small for; nil: none
	beatLimit rateLimit   // of the peer's beats
	over      *readEnd    // the result of all further reads; nil: reading goes on
	whole     atomic.Bool // the codec's frame for the end of data has come
	beats     *latch      // opened when readBeats has ended; nil: not started
}

// minRead is the size of the shortest buffer that is read into directly.
const minRead = 64

// A leftover is what remains of a read into buf.
type leftover struct {
	pending []byte
	buf     [minRead]byte
}

// A readEnd is the error that ends all further reading.
type readEnd struct{ err error }

// read reads until there is something for the application.
func (r *reader) read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if n, err := r.readOnce(p, r.conn.stream.Read); n > 0 || err != nil {
			return n, err
		}
	}
}

// readOnce reads with a single call of read. It returns 0 if that brought no data for the
// application.
func (r *reader) readOnce(p []byte, read func([]byte) (int, error)) (n int, err error) {
	switch {
	case r.rest != nil:
		return r.takeRest(p), nil
	case r.over != nil:
		return 0, r.over.err
	case r.conn.End() != nil:
		return 0, r.conn.End()
	case len(p) < minRead:
		own := new(leftover)
		if n, err = r.fill(own.buf[:], read); n > 0 {
			own.pending = own.buf[:n]
			r.rest = own
			return r.takeRest(p), nil
		}
		return 0, err
	}
	return r.fill(p, read)
}

// takeRest reads from the leftover of an earlier read.
func (r *reader) takeRest(p []byte) int {
	n := copy(p, r.rest.pending)
	r.rest.pending = r.rest.pending[n:]
	if len(r.rest.pending) == 0 {
		r.rest = nil
	}
	return n
}

// ready reports whether a read returns without reading from the stream.
func (r *reader) ready() bool { return r.rest != nil || r.over != nil }

// fill reads from the stream once, handles the control frames, and moves the n bytes of
// application data to the front of p.
func (r *reader) fill(p []byte, read func([]byte) (int, error)) (n int, err error) {
	headroom := r.framed.coder.Headroom()
	k, err := read(p[headroom:])
	var seen codec.Seen
	if k > 0 {
		r.conn.state.addIn(k)
		defer r.conn.yield(k, len(p)-headroom)
		var broken error
		n, seen, broken = r.framed.coder.Decode(p, k)
		if e := r.handleControl(seen); e != nil {
			return n, r.stop(e)
		}
		if broken != nil {
			return n, r.stop(r.protocolError(broken))
		}
	}
	switch {
	case seen.Close != nil:
		return n, r.after(n, r.closedByPeer(seen.Close))
	case seen.End:
		r.whole.Store(true)
		r.conn.state.dataEnded(Peer)
		r.stop(io.EOF)
		// Dial starts it when the state has begun; a parked connection is closed instead.
		if !r.conn.exchangingHellos() && !r.conn.isParked() {
			r.startBeats()
		}
		return n, nil
	case err == io.EOF:
		return r.finish(p, n)
	case err == nil, err == transport.ErrWouldBlock:
		return n, err
	}
	if err = r.conn.readError(err); !timedOut(err) {
		r.stop(err)
	}
	return n, err
}

// after stops reading with err. It returns nil, and leaves err to the next call, if n bytes
// of data come first.
func (r *reader) after(n int, err error) error {
	r.stop(err)
	if n > 0 {
		return nil
	}
	return err
}

// closedByPeer ends the connection for the reason in the peer's Close. It returns io.EOF if
// that is [Done], since the data before it is complete.
func (r *reader) closedByPeer(f *codec.Close) error {
	s, e := &r.conn.state, endingFrom(explainClose(f))
	var end *ending
	if r.conn.exchangingHellos() {
		end = s.setPending(e)
	} else {
		s.end(e)
		end = s.ended.Load()
	}
	if end.Reason == Done && end.fromPeer {
		return io.EOF
	}
	return &end.Error
}

// finish handles EOF on the stream, as opposed to the codec's end of data.
func (r *reader) finish(p []byte, n int) (int, error) {
	rest, broken := r.framed.coder.Finish()
	if broken != nil {
		return n, r.stop(r.protocolError(broken))
	}
	err := r.conn.readError(io.EOF)
	if r.conn.dialed != nil && r.framed.hello.Load() != nil && !r.conn.exchangingHellos() {
		// A server whose codec has a frame for the end of data was killed before it.
		err = r.conn.state.fail(&Error{Reason: PeerClosed, Initiator: Peer})
	}
	r.stop(err)
	return n + copy(p[n:], rest), nil
}

// stop makes err the result of all further reads, unless there is one. It returns that
// result.
func (r *reader) stop(err error) error {
	if r.over == nil {
		r.over = &readEnd{err}
	}
	return r.over.err
}

// protocolError ends the connection of a peer that broke the codec's rules.
func (r *reader) protocolError(broken error) error {
	e := explain(broken)
	if r.conn.exchangingHellos() {
		return e // the state has not begun
	}
	return r.conn.state.fail(e)
}

// handleControl handles the control frames of a read: it renews the lease, counts the beats,
// and sends what they require. It returns an error if the beats came too fast.
func (r *reader) handleControl(seen codec.Seen) error {
	c, out := r.conn, &r.framed.out
	if isEvidence(seen, c.state.cfg.Evidence) {
		c.state.renew()
	}
	if seen.Beats > 0 {
		c.state.addBeats(seen.Beats)
		unsolicited := seen.Beats - out.answered(seen)
		if !r.beatLimit.take(unsolicited, c.state.began, c.state.cfg.engine().time()) && !c.exchangingHellos() {
			return c.state.fail(&Error{Reason: TooManyBeats})
		}
	}
	if seen.Hello != nil {
		r.framed.hello.Store(seen.Hello)
	}
	if seen.GoAway != nil {
		r.framed.retry.Store(int64(seen.GoAway.RetryAfter))
		c.state.reach(draining)
	}
	out.sendPending()
	return nil
}

// isEvidence reports whether what was decoded is evidence of the given kind. A Hello always
// is: it comes once, and its sender's first beat may be due only after the opening phase.
func isEvidence(seen codec.Seen, kind codec.Evidence) bool {
	switch {
	case kind <= codec.Bytes || seen.Hello != nil || seen.Beats > 0:
		return true
	case kind == codec.Messages:
		return seen.Messages > 0
	}
	return false
}

// startBeats starts readBeats once.
func (r *reader) startBeats() {
	if r.beats == nil {
		r.beats = newLatch()
		go r.readBeats()
	}
}

// readBeats reads on after the end of the peer's data, since its beats and its Close may
// still come. It returns when the connection is closing or the stream fails. It does not
// hold readLock: the application's reads return io.EOF already.
func (r *reader) readBeats() {
	defer r.beats.open()
	c := r.conn
	buf := make([]byte, minRead)
	for c.state.ended.Load() == nil {
		k, err := c.stream.Read(buf[r.framed.coder.Headroom():])
		if k > 0 {
			c.state.addIn(k)
			_, seen, broken := r.framed.coder.Decode(buf, k)
			switch {
			case r.handleControl(seen) != nil:
			case broken != nil:
				r.protocolError(broken)
			case seen.Close != nil:
				c.state.fail(explainClose(seen.Close))
			}
			c.yield(k, len(buf)-r.framed.coder.Headroom())
		}
		switch {
		case err == nil:
		case timedOut(err):
			c.SetReadDeadline(time.Time{}) // the application no longer reads
		default:
			c.readError(err)
			return
		}
	}
}

// timedOut reports whether err is a passed read or write deadline. ETIMEDOUT is none,
// although its Timeout method returns true: it ends the connection.
func timedOut(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	var e net.Error
	return errors.As(err, &e) && e.Timeout() && !errors.Is(err, syscall.ETIMEDOUT)
}
