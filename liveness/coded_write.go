package liveness

import (
	"bytes"
	"net"
	"sync"
	"time"
)

// This file is the way out of a Conn that has a codec.

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
		return 0, c.unwritten(err)
	}
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	for first := true; first || n < len(p); first = false {
		m, err := c.writeChunk((*b)[:0], p[n:])
		n += m
		if err != nil {
			return n, c.unwritten(err)
		}
	}
	c.sentBeat(false)
	return n, nil
}

// unwritten is what an error of the stream means to who writes. It may be that
// the farewell made him return.
func (c *Conn) unwritten(err error) error {
	if timedOut(err) && c.leaving.Load() {
		return c.writable()
	}
	return c.fault(err)
}

// writable is the error of a direction that has ended.
func (c *Conn) writable() error {
	if e := c.life.ended.Load(); e != nil {
		return e
	}
	if c.leaving.Load() {
		c.dmu.Lock()
		c.torn = true
		c.dmu.Unlock()
		if e := c.life.noted.Load(); e != nil && e.Initiator == Local {
			return e
		}
		return &Error{Reason: Draining} // though the peer had ended its side before
	}
	if c.finished {
		return net.ErrClosed
	}
	return nil
}

// writeChunk sends the first part of p, or all of it where it needs no header.
func (c *Conn) writeChunk(buf, p []byte) (int, error) {
	part := p[:min(len(p), chunk)]
	// What is owed rides in front of the data: it costs no write of its own.
	buf = c.appendPing(c.coder.AppendPending(buf))
	own := len(buf)
	buf = c.coder.AppendDataHeader(buf, part)
	header := buf[own:]
	if len(buf) == 0 {
		buf = part
	} else {
		buf = append(buf, part...)
	}
	c.mute(false) // if the peer does not take this, that is another matter
	n, err := c.write(buf)
	switch {
	case err == nil:
	case n == 0:
		// What goes out all the same is not the application's: the codec has settled
		// its debts and will not say them again.
		c.keep(buf[:own+len(c.coder.Retract(header))])
		return 0, err
	default:
		c.keep(buf[n:]) // goes out before anything else
	}
	return len(part), err
}

// send writes frames. If a deadline cuts them short, the rest is kept: half a
// frame would garble all that follows.
func (c *Conn) send(b []byte) error {
	n, err := c.write(b)
	if err != nil {
		c.keep(b[n:])
	}
	return err
}

func (c *Conn) write(b []byte) (int, error) {
	n, err := c.stream.Write(b)
	c.life.wrote(n)
	if err == nil {
		c.clogged.Store(false)
	}
	return n, err
}

// keep makes a backlog of b.
func (c *Conn) keep(b []byte) {
	c.backlog = nil
	if len(b) > 0 {
		b = bytes.Clone(b)
		c.backlog = &b
	}
}

// flush sends what an earlier deadline left over.
func (c *Conn) flush() error {
	if c.backlog == nil {
		return nil
	}
	n, err := c.stream.Write(*c.backlog)
	c.life.wrote(n)
	if *c.backlog = (*c.backlog)[n:]; len(*c.backlog) == 0 {
		c.backlog = nil
	}
	return err
}

// pingTime is how long a Ping may take that the peer does not take.
const pingTime = 10 * time.Millisecond

// cloggedTime is how long it may take where the peer took nothing the last time:
// whoever waits for it keeps others from being asked, and there may be 100,000.
const cloggedTime = 200 * time.Microsecond

// controlTime bounds how long a control message may hold up whoever sends it,
// when the peer takes nothing.
const controlTime = 50 * time.Millisecond

// What livenet has to say is tried more than once: that its time is over may be
// because this end was held up, which says nothing of the peer. Nobody else would
// send what is left of it.
const (
	tries       = 2
	heldUpTries = 3 // in addition, where it is plain that this end was held up
)

// persist gives try, as long as it asks for more, d in all, and more if this end is
// held up.
func persist(d time.Duration, try func(until time.Time) (again bool)) {
	d /= tries
	for tried, spare := 0, heldUpTries; tried < tries; {
		until := time.Now().Add(d)
		if !try(until) {
			return
		}
		if spare > 0 && time.Since(until) > DefaultTick {
			spare--
		} else {
			tried++
		}
	}
}

// control sends a control message, made by add once it can be sent, within d.
// The write lock is held.
func (c *Conn) control(d time.Duration, add func([]byte) []byte) bool {
	sent, made := false, 0
	persist(d, func(until time.Time) bool {
		n, err := c.attempt(until, add)
		made += n
		sent = err == nil && made > 0
		return timedOut(err) && !c.leaving.Load()
	})
	return sent
}

// attempt sends what is left over, and what add appends to that, until then. It
// returns the length of what add has appended. The write lock is held.
func (c *Conn) attempt(until time.Time, add func([]byte) []byte) (int, error) {
	defer c.unbound(c.bound(until))
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	var msg []byte
	held := c.backlog == nil && c.clogged.Load() // of what TLS has taken it may hold back a part
	err := c.flush()
	if err == nil {
		msg = add((*b)[:0])
	}
	switch {
	case err != nil:
		if !c.finished {
			c.mute(false) // likewise
		}
	case len(msg) > 0:
		err = c.send(msg)
	case held:
		_, err = c.write(nil)
	}
	c.clogged.Store(err != nil)
	return len(msg), err
}

// bound sets a deadline for writing over the application's, and unbound gives
// that back its own; unless somebody has set another one since, who will. Or, of
// two farewells at once, one would have no end.

func (c *Conn) bound(t time.Time) (number uint32) {
	c.dmu.Lock()
	defer c.dmu.Unlock()
	c.bounded = true
	c.bounds++
	c.stream.SetWriteDeadline(t)
	return c.bounds
}

func (c *Conn) unbound(number uint32) {
	c.dmu.Lock()
	defer c.dmu.Unlock()
	if number != c.bounds {
		return
	}
	c.bounded = false
	var t time.Time
	if c.deadline != nil {
		t = *c.deadline
	}
	c.stream.SetWriteDeadline(t)
}

// unlockPaying lets go of the write lock, having sent what this end owes the
// peer: whoever finds the lock taken leaves its debt to the holder.
func (c *Conn) unlockPaying() {
	for {
		paid := true
		if (c.coder.Pending() || c.due.Load()) && !c.leaving.Load() {
			paid = c.control(controlTime, func(b []byte) []byte { return c.appendPing(c.coder.AppendPending(b)) })
		}
		c.wmu.Unlock()
		if !paid || !(c.coder.Pending() || c.due.Load()) || c.leaving.Load() || !c.wmu.TryLock() {
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
		return c.unwritten(err)
	}
	c.finished = true
	end, ok := c.coder.AppendEnd(nil)
	if !ok {
		c.mute(true)
		return closeWrite(c.stream)
	}
	if err := c.send(end); err != nil {
		return c.unwritten(err) // it goes out with the next beat
	}
	return nil
}

// probe asks the peer for a sign of life, unless that would have to wait. Of what can
// become of that, only a peer that takes nothing is worth another try.
func (c *Conn) probe() bool { return c.ping() || !c.hasCodec() || !c.clogged.Load() }

// mute takes note whether there is a place for a beat in what this end says. The
// write lock is held.
func (c *Conn) mute(muted bool) {
	switch {
	case c.dialler == nil:
	case muted:
		c.dialler.muted.Store(stillMuted)
	case c.dialler.muted.Load() == stillMuted:
		c.dialler.muted.Store(int64(c.life.cfg.engine().time()))
	}
}

// unasked is how long ago the peer could at last be asked for the signs of life that
// it is judged by, if there was a time when it could not, for want of a place.
func (c *Conn) unasked() (ago time.Duration, ok bool) {
	if !c.dialled() || !c.dialler.implied {
		return 0, false
	}
	switch until := c.dialler.muted.Load(); until {
	case 0:
		return 0, false
	case stillMuted:
		return 0, true
	default:
		return c.life.cfg.engine().time() - time.Duration(until), true
	}
}

// ping sends a beat. False: it can't be sent now, or the codec has none.
func (c *Conn) ping() bool {
	if !c.hasCodec() {
		return false
	}
	within := pingTime
	switch {
	case c.dialled():
	case c.life.in.Load() == 0:
		return false // it may be in a handshake, which is not to be waited for
	case c.clogged.Load():
		within = cloggedTime
	}
	c.due.Store(true)
	if !c.wmu.TryLock() {
		return true // its holder sends it
	}
	sent := c.control(within, c.appendPing)
	if c.clogged.Load() {
		c.wmu.Unlock() // what is owed is for whoever sends next
		return sent
	}
	c.unlockPaying()
	return sent
}

// appendPing appends the Ping that is due, if one is and there is a place for
// it. The write lock is held.
func (c *Conn) appendPing(b []byte) []byte {
	if !c.due.Load() {
		return b
	}
	seq := uint32(1)
	if q := c.asked.Load(); q != nil {
		seq = q.seq + 1
	}
	if c.finished && c.dialled() && c.dialler.muted.Load() == stillMuted {
		return b
	}
	b, ok := c.coder.AppendPing(b, seq)
	c.mute(!ok)
	if ok {
		c.due.Store(false)
		c.asked.Store(&question{seq, time.Now()})
		c.sentBeat(true)
	}
	return b
}

// farewellTime is how long a farewell may take that a peer does not take.
const farewellTime = 10 * time.Millisecond

// farewell tells the peer why, if the codec can, and reports whether it did. A
// peer that was never heard may be in the middle of a handshake, which is not
// to be waited for; nor is one that takes nothing, once for each of its streams.
func (c *Conn) farewell(e *Error) bool {
	if !c.hasCodec() || e.Initiator == Peer || c.life.in.Load() == 0 {
		return false
	}
	x := c.session()
	if x != nil && x.takesNone() {
		return false
	}
	// Whoever is writing returns: nothing of the application's comes after the
	// farewell anyway. What they leave unfinished goes out before it.
	c.leaving.Store(true)
	defer c.unbound(c.bound(past))
	c.wmu.Lock()
	defer c.wmu.Unlock()
	within := farewellTime
	switch {
	case x != nil:
		within = x.farewellTime()
	case c.backlog != nil && e.Reason.abrupt():
		return false // the peer has taken no more, and what it has not taken is dropped
	}
	said := c.said.Load() || c.bye(e, within)
	c.said.Store(said)
	if x != nil && (said || c.clogged.Load()) {
		x.told(said)
	}
	return said
}

// bye sends a Bye, or what is left of it, within d. The write lock is held.
func (c *Conn) bye(e *Error, d time.Duration) bool {
	can := false
	var err error
	persist(d, func(until time.Time) bool {
		_, err = c.attempt(until, func(b []byte) []byte {
			b, can = c.coder.AppendClose(b, e.Reason.Code(), e.Text)
			return b
		})
		return timedOut(err)
	})
	return can && err == nil
}
