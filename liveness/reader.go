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

// A reader takes the application's data out of what the codec frames. It decodes in
// the buffer that the application reads into, so an idle connection holds none. Its
// methods are called with the Conn's read lock held.
type reader struct {
	conn      *Conn
	framed    *framed
	rest      *leftover   // read into a buffer of our own, since the application's was too small
	beatLimit rateLimit   // the beats that the peer may send
	over      *readEnd    // what ends all further reading; nil: nothing yet
	whole     atomic.Bool // the peer's data, by its own word
	beats     *latch      // opened when readBeats has ended; nil: it never began
}

// minRead is the shortest buffer that is worth reading into directly.
const minRead = 64

// A leftover is what is left of a read into buf.
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

// readOnce reads with one call of read. There may be nothing in it for the
// application: then n is 0.
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

// takeRest reads what is left of an earlier read.
func (r *reader) takeRest(p []byte) int {
	n := copy(p, r.rest.pending)
	r.rest.pending = r.rest.pending[n:]
	if len(r.rest.pending) == 0 {
		r.rest = nil
	}
	return n
}

// ready reports whether something can be read without the stream.
func (r *reader) ready() bool { return r.rest != nil || r.over != nil }

// fill reads from the stream once, handles the control frames, and leaves the
// application's data, n bytes, at the front of p.
func (r *reader) fill(p []byte, read func([]byte) (int, error)) (n int, err error) {
	headroom := r.framed.coder.Headroom()
	k, err := read(p[headroom:])
	var seen codec.Seen
	if k > 0 {
		r.conn.state.addIn(k)
		defer r.conn.yield(k)
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
		// A Conn that is being dialled starts it when its state has begun; a parked one closes.
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

// after stops reading with err, which is for the next call if there is data.
func (r *reader) after(n int, err error) error {
	r.stop(err)
	if n > 0 {
		return nil
	}
	return err
}

// closedByPeer ends the connection as the peer's Close says. The data before it is
// whole if the peer had done.
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

// finish is the end of the stream's input, as opposed to that of the data.
func (r *reader) finish(p []byte, n int) (int, error) {
	rest, broken := r.framed.coder.Finish()
	if broken != nil {
		return n, r.stop(r.protocolError(broken))
	}
	err := r.conn.readError(io.EOF)
	if r.conn.dialed != nil && r.framed.hello.Load() != nil && !r.conn.exchangingHellos() {
		// A server that speaks frames ends its data by one: this one was killed.
		err = r.conn.state.fail(&Error{Reason: PeerClosed, Initiator: Peer})
	}
	r.stop(err)
	return n + copy(p[n:], rest), nil
}

// stop makes err the answer to all further reads.
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
		return e // there is nothing to end yet
	}
	return r.conn.state.fail(e)
}

// handleControl handles what came between the application's bytes. It returns how the
// connection has ended if that was too much.
func (r *reader) handleControl(seen codec.Seen) error {
	c, out := r.conn, &r.framed.out
	if isEvidence(seen, c.state.cfg.Evidence) {
		c.state.renew()
	}
	if seen.Beats > 0 {
		c.state.addBeats(seen.Beats)
		unasked := seen.Beats - out.answered(seen)
		if !r.beatLimit.take(unasked, c.state.began, c.state.cfg.engine().time()) && !c.exchangingHellos() {
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

// isEvidence reports whether what came is evidence where kind is what counts. A Hello
// always is: it comes once, and whoever has sent it needs to beat no sooner than
// the answer says, which may be later than the opening phase ends.
func isEvidence(seen codec.Seen, kind codec.Evidence) bool {
	switch {
	case kind <= codec.Bytes || seen.Hello != nil || seen.Beats > 0:
		return true
	case kind == codec.Messages:
		return seen.Messages > 0
	}
	return false
}

// startBeats starts readBeats.
func (r *reader) startBeats() {
	if r.beats == nil {
		r.beats = newLatch()
		go r.readBeats()
	}
}

// readBeats reads on after the end of the peer's data, since its beats and its Close
// may still come. It ends when the connection is closing, or with the stream. It does
// not hold the read lock: the application's reads have their answer.
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
			c.yield(k)
		}
		switch {
		case err == nil:
		case timedOut(err):
			c.SetReadDeadline(time.Time{}) // it was for reads that the application no longer makes
		default:
			c.readError(err)
			return
		}
	}
}

// timedOut reports whether a deadline for reading or writing has passed. The
// kernel's ETIMEDOUT says Timeout, too, but it is the connection's end.
func timedOut(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	var e net.Error
	return errors.As(err, &e) && e.Timeout() && !errors.Is(err, syscall.ETIMEDOUT)
}
