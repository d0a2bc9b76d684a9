package liveness

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/livenet/livenet/codec"
)

// This file is the way of the bytes of a Conn that has a codec.

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
		if len(c.pending) > 0 {
			n := copy(p, c.pending)
			c.pending = c.pending[n:]
			return n, nil
		}
		if end := c.over.Load(); end != nil {
			return 0, c.readError(end.err)
		}
		if len(p) < smallest {
			if c.small == nil {
				c.small = make([]byte, smallest)
			}
			n, err := c.fill(c.small)
			c.pending = c.small[:n]
			if n == 0 && err != nil {
				return 0, err
			}
			continue
		}
		if n, err := c.fill(p); n > 0 || err != nil {
			return n, err
		}
	}
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
func (c *Conn) fill(p []byte) (n int, err error) {
	room := c.coder.Headroom()
	k, err := c.stream.Read(p[room:])
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
	case seen.Bye != nil:
		e := explainBye(seen.Bye)
		c.life.note(e)
		if e.Reason == Done {
			c.stopReading(io.EOF)
		} else {
			c.stopReading(e)
		}
		return n, nil
	case seen.End:
		c.stopReading(io.EOF)
		if !c.greeting { // Dial starts it when the life has begun
			c.startDrain()
		}
		return n, nil
	case err == io.EOF:
		return c.finish(p, n)
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
	if c.greeting {
		return e // there is nothing to end yet
	}
	c.life.end(*e)
	return c.life.ended.Load()
}

// hear deals with what came between the application's bytes.
func (c *Conn) hear(seen codec.Seen) {
	switch c.cfg.Evidence {
	case codec.Bytes:
		c.life.renew()
	case codec.Messages:
		if seen.Messages > 0 || seen.Beats > 0 {
			c.life.renew()
		}
	case codec.Beats:
		if seen.Beats > 0 {
			c.life.renew()
		}
	}
	if seen.Beats > 0 {
		c.life.beaten(seen.Beats)
		if !c.allowed.take(seen.Beats) && !c.greeting {
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
	if c.coder.Owes() && c.wmu.TryLock() {
		// Whoever holds the lock pays, before it lets go.
		c.unlockPaying()
	}
}

// startDrain starts drain. The read lock is held.
func (c *Conn) startDrain() {
	c.drained = make(chan struct{})
	go c.drain()
}

// drain goes on reading after the end of the peer's data, since its beats and
// its farewell may still come. It ends with the stream.
func (c *Conn) drain() {
	defer close(c.drained)
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
			if seen.Bye != nil {
				c.life.note(explainBye(seen.Bye))
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
	c.life.cut.Wait()
	if c.coder == nil {
		return
	}
	c.rmu.Lock()
	drained := c.drained
	c.rmu.Unlock()
	if drained != nil {
		<-drained
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

// Writing copies a header and the data that follows into one buffer, so that
// they travel in one packet.
const chunk = 16 << 10

var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, chunk+256)
	return &b
}}

func (c *Conn) writeCoded(p []byte) (n int, err error) {
	c.wmu.Lock()
	defer c.unlockPaying()
	if err := c.writable(); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if err := c.flush(); err != nil {
		return 0, c.fault(err)
	}
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	for first := true; first || n < len(p); first = false {
		m, err := c.writeChunk((*b)[:0], p[n:])
		n += m
		if err != nil {
			return n, c.fault(err)
		}
	}
	c.beat.sent(false)
	return n, nil
}

// writable is the error of a direction that has ended.
func (c *Conn) writable() error {
	if e := c.life.ended.Load(); e != nil {
		return e
	}
	if c.leaving.Load() {
		if e := c.life.noted.Load(); e != nil {
			return e
		}
		return net.ErrClosed
	}
	if c.ended {
		return net.ErrClosed
	}
	return nil
}

// writeChunk sends the first part of p, or all of it where it needs no header.
func (c *Conn) writeChunk(buf, p []byte) (int, error) {
	part := p[:min(len(p), chunk)]
	// What is owed rides in front of the data: it costs no write of its own.
	buf = c.appendPing(c.coder.AppendOwed(buf))
	own := len(buf)
	buf = c.coder.AppendDataHeader(buf, part)
	if len(buf) == 0 {
		buf = part
	} else {
		buf = append(buf, part...)
	}
	n, err := c.send(buf, own)
	if n == 0 {
		return 0, err
	}
	return len(part), err // what was cut short goes out before anything else
}

// send writes frames. If a deadline cuts them short, the rest is kept: half a
// frame would garble all that follows. If nothing went out at all, only the
// first own bytes are kept, which are not the application's: the codec has
// settled its debts and will not say them again.
func (c *Conn) send(b []byte, own int) (int, error) {
	n, err := c.stream.Write(b)
	c.life.wrote(n)
	switch {
	case err == nil:
		c.clogged.Store(false)
	case n > 0:
		c.backlog = append([]byte(nil), b[n:]...)
	default:
		c.backlog = append([]byte(nil), b[:own]...)
	}
	return n, err
}

// flush sends what an earlier deadline left over.
func (c *Conn) flush() error {
	if len(c.backlog) == 0 {
		return nil
	}
	n, err := c.stream.Write(c.backlog)
	c.life.wrote(n)
	c.backlog = c.backlog[n:]
	return err
}

// pingTime is how long a Ping may take that the peer does not take.
const pingTime = 10 * time.Millisecond

// controlTime bounds how long a control message may hold up whoever sends it,
// when the peer takes nothing.
const controlTime = 50 * time.Millisecond

// control sends a control message, made by add once it can be sent, within d.
// The write lock is held.
func (c *Conn) control(d time.Duration, add func([]byte) []byte) bool {
	c.bound(time.Now().Add(d))
	defer c.unbound()
	if c.flush() != nil {
		c.clogged.Store(true)
		return false
	}
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	msg := add((*b)[:0])
	if len(msg) == 0 {
		return false
	}
	_, err := c.send(msg, len(msg))
	c.clogged.Store(err != nil)
	return err == nil
}

// bound sets a deadline for writing over the application's, and unbound gives
// it back its own.

func (c *Conn) bound(t time.Time) {
	c.dmu.Lock()
	c.bounded = true
	c.stream.SetWriteDeadline(t)
	c.dmu.Unlock()
}

func (c *Conn) unbound() {
	c.dmu.Lock()
	c.bounded = false
	c.stream.SetWriteDeadline(c.deadline)
	c.dmu.Unlock()
}

// unlockPaying lets go of the write lock, having sent what this end owes the
// peer: whoever finds the lock taken leaves its debt to the holder.
func (c *Conn) unlockPaying() {
	for {
		paid := true
		if (c.coder.Owes() || c.due.Load()) && !c.leaving.Load() {
			paid = c.control(controlTime, func(b []byte) []byte { return c.appendPing(c.coder.AppendOwed(b)) })
		}
		c.wmu.Unlock()
		if !paid || !(c.coder.Owes() || c.due.Load()) || c.leaving.Load() || !c.wmu.TryLock() {
			return
		}
	}
}

// closeWriteCoded ends this direction's data.
func (c *Conn) closeWriteCoded() error {
	c.wmu.Lock()
	defer c.unlockPaying()
	if err := c.writable(); err != nil {
		return err
	}
	if err := c.flush(); err != nil {
		return c.fault(err)
	}
	c.ended = true
	end, ok := c.coder.AppendEnd(nil)
	if !ok {
		return closeWrite(c.stream)
	}
	if _, err := c.send(end, len(end)); err != nil {
		return c.fault(err) // it goes out with the next beat
	}
	return nil
}

// probe asks the peer for a sign of life, unless that would have to wait.
func (c *Conn) probe() { c.ping() }

// ping sends a beat. False: it can't be sent now, or the codec has none.
func (c *Conn) ping() bool {
	if c.coder == nil {
		return false
	}
	if c.owned == nil && (c.life.in.Load() == 0 || c.clogged.Load()) {
		// It may be in a handshake, or takes nothing: whoever waits for it here
		// keeps others from being asked.
		return false
	}
	c.due.Store(true)
	if !c.wmu.TryLock() {
		return true // its holder sends it
	}
	defer c.unlockPaying()
	return c.control(pingTime, c.appendPing)
}

// appendPing appends the Ping that is due, if one is. The write lock is held.
func (c *Conn) appendPing(b []byte) []byte {
	if !c.due.Swap(false) {
		return b
	}
	seq := uint32(1)
	if q := c.asked.Load(); q != nil {
		seq = q.seq + 1
	}
	b, ok := c.coder.AppendPing(b, seq)
	if ok {
		c.asked.Store(&question{seq, time.Now()})
		c.beat.sent(true)
	}
	return b
}

// farewellTime is how long a farewell may take that a peer does not take.
const farewellTime = 10 * time.Millisecond

// farewell tells the peer why, if the codec can, and reports whether it did. A
// peer that was never heard may be in the middle of a handshake, which is not
// to be waited for.
func (c *Conn) farewell(e *Error) bool {
	if c.coder == nil || e.Initiator == Peer || c.life.in.Load() == 0 {
		return false
	}
	// Whoever is writing returns: nothing of the application's comes after the
	// farewell anyway. What they leave unfinished goes out before it.
	c.leaving.Store(true)
	c.bound(past)
	defer c.unbound()
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if !c.said {
		c.said = c.control(farewellTime, func(b []byte) []byte {
			b, _ = c.coder.AppendBye(b, e.Reason.Code(), e.Text)
			return b
		})
	}
	return c.said
}
