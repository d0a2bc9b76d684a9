package liveness

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/transport"
)

// This file is the way in of a Conn that has a codec.

// smallest is the shortest buffer that is worth reading into directly.
const smallest = 64

// readCoded reads until there is something for the application. Framing is
// taken out in the application's own buffer, so that an idle connection holds
// none.
func (c *Conn) readCoded(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.rmu.Lock()
	defer c.rmu.Unlock()
	for {
		if c.rest != nil {
			return c.takeRest(p), nil
		}
		if end := c.over.Load(); end != nil {
			return 0, c.readError(end.err)
		}
		if len(p) < smallest {
			r := new(leftover)
			n, err := c.fill(r.buf[:], c.stream.Read)
			if n > 0 {
				r.pending = r.buf[:n]
				c.rest = r
			} else if err != nil {
				return 0, err
			}
			continue
		}
		if n, err := c.fill(p, c.stream.Read); n > 0 || err != nil {
			return n, err
		}
	}
}

// takeRest reads what is left of an earlier read.
func (c *Conn) takeRest(p []byte) int {
	n := copy(p, c.rest.pending)
	c.rest.pending = c.rest.pending[n:]
	if len(c.rest.pending) == 0 {
		c.rest = nil
	}
	return n
}

// takeCoded reads a piece with one call of read; p has room for anything. There
// may be nothing in it for the application: then n is 0.
func (c *Conn) takeCoded(p []byte, read func([]byte) (int, error)) (n int, err error) {
	c.rmu.Lock()
	defer c.rmu.Unlock()
	if c.rest != nil {
		return c.takeRest(p), nil
	}
	if end := c.over.Load(); end != nil {
		return 0, c.readError(end.err)
	}
	return c.fill(p, read)
}

// readError is what a Read after the end of reading returns.
func (c *Conn) readError(err error) error {
	if e := c.life.ended.Load(); e != nil && err != io.EOF {
		return e
	}
	return err
}

// fill reads from the stream once, deals with whatever isn't the application's
// and leaves the rest, n bytes, at the front of p.
func (c *Conn) fill(p []byte, read func([]byte) (int, error)) (n int, err error) {
	room := c.coder.Headroom()
	k, err := read(p[room:])
	var seen codec.Seen
	if k > 0 {
		c.life.read(k)
		var broken error
		n, seen, broken = c.coder.Decode(p, k)
		c.hear(seen)
		if broken != nil {
			return n, c.stopReading(c.breach(broken))
		}
	}
	switch {
	case seen.Close != nil:
		e := explainBye(seen.Close)
		c.life.note(e)
		if e.Reason == Done {
			c.stopReading(io.EOF)
		} else {
			c.stopReading(e)
		}
		return n, nil
	case seen.End:
		c.stopReading(io.EOF)
		if !c.greeting() && !c.isFed() { // Dial starts it when the life has begun; who is fed, closes
			c.startReadingOn()
		}
		return n, nil
	case err == io.EOF:
		return c.finish(p, n)
	case err == transport.ErrWouldBlock:
		return n, err
	case err != nil:
		err = c.fault(err)
		if !timedOut(err) || c.life.ended.Load() != nil {
			c.stopReading(err)
		}
		return n, err
	}
	return n, nil
}

// finish is the end of the stream's input, as opposed to that of the data.
func (c *Conn) finish(p []byte, n int) (int, error) {
	rest, broken := c.coder.Finish()
	if broken != nil {
		return n, c.stopReading(c.breach(broken))
	}
	c.stopReading(c.fault(io.EOF))
	return n + copy(p[n:], rest), nil
}

// stopReading makes err the answer to all further reads.
func (c *Conn) stopReading(err error) error {
	c.over.CompareAndSwap(nil, &readEnd{err})
	return err
}

// breach ends the connection of a peer that broke the codec's rules.
func (c *Conn) breach(broken error) error {
	e := explain(broken)
	if c.greeting() {
		return e // there is nothing to end yet
	}
	c.life.end(*e)
	return c.life.ended.Load()
}

// hear deals with what came between the application's bytes.
func (c *Conn) hear(seen codec.Seen) {
	if counts(seen, c.life.cfg.Evidence) {
		c.life.renew()
	}
	if seen.Beats > 0 {
		c.life.beaten(seen.Beats)
		if !c.allowed.take(seen.Beats, c.life.began, c.life.cfg.engine().time()) && !c.greeting() {
			c.life.end(Error{Reason: TooManyBeats})
			return
		}
	}
	// A codec whose beats have no numbers gives 0.
	if q := c.asked.Load(); seen.Answered && q != nil && (q.seq == seen.Seq || seen.Seq == 0) {
		c.life.measured(time.Since(q.at))
	}
	if seen.Hello != nil {
		c.hello.Store(seen.Hello)
	}
	if c.coder.Pending() && c.wmu.TryLock() {
		// Whoever holds the lock pays, before it lets go.
		c.unlockPaying()
	}
}

// counts reports whether what came is evidence where kind is what counts. A Hello
// always is: it comes once, and whoever has sent it needs to beat no sooner than
// the answer says, which may be later than the opening phase ends.
func counts(seen codec.Seen, kind codec.Evidence) bool {
	switch {
	case kind == codec.Bytes || seen.Hello != nil || seen.Beats > 0:
		return true
	case kind == codec.Messages:
		return seen.Messages > 0
	}
	return false
}

// startReadingOn starts readOn. The read lock is held.
func (c *Conn) startReadingOn() {
	c.quiet = make(chan struct{})
	go c.readOn()
}

// readOn goes on reading after the end of the peer's data, since its beats and
// its farewell may still come. It ends with the stream.
func (c *Conn) readOn() {
	defer close(c.quiet)
	buf := make([]byte, smallest)
	for {
		k, err := c.stream.Read(buf[c.coder.Headroom():])
		if k > 0 {
			c.life.read(k)
			_, seen, broken := c.coder.Decode(buf, k)
			c.hear(seen)
			if broken != nil {
				c.breach(broken)
				return
			}
			if seen.Close != nil {
				c.life.note(explainBye(seen.Close))
			}
		}
		if err != nil && !timedOut(err) {
			c.fault(err)
			return
		}
		if err != nil {
			// A deadline of the application's for reads that it no longer makes.
			if c.SetReadDeadline(time.Time{}) != nil {
				return // the end reads on
			}
		}
	}
}

// awaitEnd waits until the stream is closed, and nothing reads from it any more.
func (c *Conn) awaitEnd() {
	c.life.stages.wait(isShut)
	if !c.hasCodec() {
		return
	}
	c.rmu.Lock()
	quiet := c.quiet
	c.rmu.Unlock()
	if quiet != nil {
		<-quiet
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
