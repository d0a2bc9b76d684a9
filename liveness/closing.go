package liveness

import (
	"io"
	"net"
	"time"

	"github.com/livenet/livenet/transport"
)

// What [Conn.BeforeClose] set is called first. Then a Conn is closed in this order:
//
//  1. The reason is stored, and the handler's context ends: whoever is woken by what
//     follows finds it.
//  2. The application's blocked calls return.
//  3. A Close frame is sent, behind the rest of a frame that was begun.
//  4. This direction ends. A peer that isn't waited for is reset instead; so is one that
//     would take EOF for the end of whole data, once all that was sent has arrived.
//  5. The books are changed and the event is emitted; Close returns.
//  6. What the peer still sends is read and dropped until it ends its direction too.
//     A kernel that closes a socket with unread input resets the connection, and
//     drops what was on its way to the peer.
//  7. The stream is closed, and its session with it if it has no other stream.
//
// None of this waits for the peer but the linger, a goroutine that does 4, 6 and 7, and
// 3 if the peer's window had no room for it. One of several streams of a session needs
// no 6.

// A lingerLimit bounds how long a peer is waited for, and how much of its input is
// dropped meanwhile.
type lingerLimit struct {
	time  time.Duration
	bytes int64
}

var (
	// What was written before an end of the application's own is to arrive, however
	// slowly the peer reads.
	lingerWhole = lingerLimit{30 * time.Second, 16 << 20}
	// A deadline has passed, or the peer broke a rule.
	lingerShort = lingerLimit{time.Second, 1 << 20}
	// A dialled connection's Close waits for it.
	lingerDialed = lingerLimit{5 * time.Second, 16 << 20}
)

func (c *Conn) lingerLimit(e *ending) lingerLimit {
	switch {
	case e.Reason.expiry(), e.Reason.fault():
		return lingerShort
	case c.dialed != nil:
		return lingerDialed
	}
	return lingerWhole
}

// teardown does steps 1 to 3, and 4 and 7 where nothing is waited for.
func (c *Conn) teardown(e *ending) {
	if c.dialed != nil {
		c.dialed.beat.stop()
	}
	c.pacer().stop()
	if c.ctx != nil {
		c.ctx.end(&e.Error)
	}
	switch {
	case c.isWrapped():
		c.teardownWrapped(e)
	case e.ofSession: // closing it ends its streams, and tells the peer the reason for all of them
	default:
		c.interrupt()
		c.endStreams(e)
		sent, flushed := c.sendClose(e, controlTime)
		c.endWrite(e, sent, flushed)
	}
}

// beforeCloseTime bounds what [Conn.BeforeClose] has done.
const beforeCloseTime = time.Second

// BeforeClose has f called once before this end closes the connection because a deadline
// has passed, CloseWith was called, or the server shuts down: say, to send the close frame
// of the application's own protocol. Until f returns, for a second at most, the connection
// can be used as ever; f may close it itself, which doesn't change the reason. f is not
// called if the application calls Close, if the peer has ended the connection, was never
// heard or is [Silent], and for a stream whose session ends. A later call replaces f.
func (c *Conn) BeforeClose(f func(*Error)) { c.ensureExtra().beforeClose.Store(&f) }

// endAfterHook is end, but first lets the application tell the peer, if it wants to: then it
// returns before the state has ended. False: an earlier call has it do so now, and the
// state ends after that.
func (s *state) endAfterHook(e ending) bool {
	f := s.beforeClose(&e)
	if f == nil {
		s.end(e)
		return true
	}
	if e.missed.IsZero() {
		e.Age, e.Silence = s.age(), s.silence()
	}
	e.hookRunning = true
	for {
		was := s.pending.Load()
		if was != nil && was.hookRunning {
			return false
		}
		if s.pending.CompareAndSwap(was, &e) {
			break
		}
	}
	go func() {
		defer s.end(e) // also when f ends its goroutine
		defer time.AfterFunc(beforeCloseTime, func() { s.end(e) }).Stop()
		(*f)(&e.Error)
	}()
	return true
}

// beforeClose is what is to be called before s ends by e, or nil.
func (s *state) beforeClose(e *ending) *func(*Error) {
	c, ok := s.owner.(*Conn)
	if !ok || e.abrupt || e.ofSession || s.in.Load() == 0 || s.ended.Load() != nil {
		return nil
	}
	if r := c.extra.Load(); r != nil {
		return r.beforeClose.Load()
	}
	return nil
}

// isWrapped reports whether the stream was given to NewConn or NewListener, and is not a
// [transport.Stream].
func (c *Conn) isWrapped() bool { return c.bits.Load()&wrapped != 0 }

func (c *Conn) teardownWrapped(e *ending) {
	cut := c.truncates(e)
	switch {
	case e.abrupt, cut && acknowledged(c.stream):
		c.closeWrapped(e, func() { reset(c.stream) })
	case cut:
		c.interrupt()
		go func() { // others wait to be ended
			awaitAcknowledged(c.stream, lingerShort.time, nil)
			reset(c.stream)
		}()
	default:
		c.closeWrapped(e, func() { c.stream.Close() })
	}
}

// closeWrapped has TLS wait on a goroutine of its own for a peer that does not read,
// where others wait to be ended.
func (c *Conn) closeWrapped(e *ending, end func()) {
	if e.byEngine {
		go end()
	} else {
		end()
	}
}

// truncates reports whether an EOF would pass for the end of data that e cuts off. A peer
// that said nothing, and was told nothing, waits for none, unless it is for a service to
// speak first.
func (c *Conn) truncates(e *ending) bool {
	return e.Initiator == Local && !e.whole() && !e.Reason.observed() &&
		(c.state.in.Load() > 0 || c.state.out.Load() > 0 || e.Reason == UpstreamFailed)
}

// past is a deadline that has passed under any clock.
var past = time.Unix(1, 0)

// interrupt has the application's blocked calls return.
func (c *Conn) interrupt() {
	c.deadlines.Lock()
	defer c.deadlines.Unlock()
	c.stream.SetReadDeadline(past)
	c.stream.SetWriteDeadline(past)
}

// sendClose sends the rest of a frame and a Close frame, within d. It reports
// whether the peer gets to know the reason by that, and whether nothing is left that
// should be sent. A peer that was never heard may be in the middle of a handshake,
// which is not waited for.
func (c *Conn) sendClose(e *ending, d time.Duration) (sent, flushed bool) {
	if c.framed == nil || e.fromPeer || c.state.in.Load() == 0 {
		return false, true
	}
	w := &c.framed.out
	w.mu.Lock()
	defer w.mu.Unlock()
	if d <= controlTime && (w.rest != nil || w.blocked.Load()) {
		return false, false // the peer takes nothing: the linger waits for it, or it is reset
	}
	_, err := retryIfStalled(d, func(until time.Time) (int, error) {
		c.stream.SetWriteDeadline(until)
		return w.sendAll(func(b []byte) []byte {
			b, sent = c.framed.coder.AppendClose(b, e.Reason.Code(), e.Text)
			return b
		})
	})
	return sent && err == nil, err == nil
}

// endWrite ends this direction, and the stream with it where the peer isn't waited
// for.
func (c *Conn) endWrite(e *ending, sent, flushed bool) {
	s := c.stream.(transport.Stream)
	switch {
	case c.multiplexed && c.dialed == nil:
		switch {
		case sent || flushed && e.whole() || e.fromPeer:
			c.close(e)
		case flushed || e.abrupt:
			s.Reset(e.Reason.Code()) // which tells the reason
			c.close(e)
		default:
			c.inBackground(func() { c.linger(e, false, false) })
		}
	case e.abrupt, !sent && flushed && c.multiplexed && e.Reason.fault() && e.Initiator == Local:
		s.Reset(e.Reason.Code())
		c.close(e)
	case !sent && flushed && !c.multiplexed && c.truncates(e):
		if !acknowledged(c.stream) {
			c.inBackground(func() { c.linger(e, sent, flushed) })
			return
		}
		s.Reset(e.Reason.Code())
		c.close(e)
	case flushed && (c.bits.Load()&peerEnded != 0 || c.state.out.Load() == 0): // nothing comes, or nothing can be lost
		if e.byEngine { // TLS may wait for room
			c.inBackground(func() { c.close(e) })
		} else {
			c.close(e)
		}
	default:
		c.inBackground(func() { c.linger(e, sent, flushed) })
	}
}

// inBackground has a goroutine do what may wait for the peer. The server waits for it.
func (c *Conn) inBackground(do func()) {
	if c.srv != nil {
		c.srv.lingers.add(c)
	}
	go func() {
		if c.srv != nil {
			defer c.srv.lingers.remove(c)
		}
		do()
	}()
}

// linger does steps 4, 6 and 7, and first 3 unless that is done. It reads all the time:
// the peer may be waiting for that before it reads what this end has to send.
func (c *Conn) linger(e *ending, sent, flushed bool) {
	limit := c.lingerLimit(e)
	if beats := c.awaitRead(); beats != nil {
		<-beats.c
	}
	c.stream.SetReadDeadline(time.Now().Add(limit.time))
	read, failed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(read)
		if _, err := io.Copy(io.Discard, io.LimitReader(c.stream, limit.bytes)); err != nil {
			close(failed)
		}
	}()
	if !flushed {
		sent, flushed = c.sendClose(e, limit.time)
	}
	switch {
	case !flushed: // an end within a frame would be the peer's protocol error
		c.stream.(transport.Stream).Reset(e.Reason.Code())
	case !sent && !c.multiplexed && c.truncates(e):
		awaitAcknowledged(c.stream, limit.time, failed)
		c.stream.(transport.Stream).Reset(e.Reason.Code())
	case c.multiplexed && c.dialed == nil: // what was written arrives as long as the session lives
		c.stream.Close()
	case closeWrite(c.stream) != nil:
		c.stream.Close()
	}
	<-read
	c.close(e)
}

// awaitRead waits until the application's read has returned, which was interrupted: later
// ones don't reach the stream. It returns the latch of the reader of beats, if there is one.
func (c *Conn) awaitRead() *latch {
	c.readLock.Lock()
	defer c.readLock.Unlock()
	if c.framed == nil {
		return nil
	}
	return c.framed.in.beats
}

// awaitAcknowledged waits until the peer's system has acknowledged all that was sent, or
// failed is closed, for d at most. Where the system can't be asked it waits a moment.
func awaitAcknowledged(conn net.Conn, d time.Duration, failed <-chan struct{}) {
	const unknown = 200 * time.Millisecond
	if !canQuerySendQueue {
		d = min(d, unknown)
	}
	until := time.Now().Add(d)
	for step := time.Millisecond; !acknowledged(conn) && time.Now().Before(until); step = min(2*step, 16*time.Millisecond) {
		select {
		case <-failed:
			return
		case <-time.After(step):
		}
	}
}

// acknowledged reports whether the peer's system has acknowledged all that was sent, so
// that a reset drops nothing. Only TCP has a queue that a reset drops.
func acknowledged(conn net.Conn) bool {
	tcp, _ := unwrapTCP(conn)
	return tcp == nil || unacknowledged(tcp) == 0
}

// close closes the stream, and the session if it is this stream's alone.
func (c *Conn) close(e *ending) {
	c.stream.Close()
	if c.dialed == nil {
		return
	}
	code, text := e.Reason.Code(), e.Text
	if c.multiplexed && e.fromPeer { // it has ended the stream; the session ends because it is not needed any more
		code, text = Done.Code(), ""
	}
	end := func() {
		closeSession(c.dialed.sess, code, text, e.abrupt)
		c.dialed.sessionClosed.open()
	}
	if e.byEngine { // yamux may wait for room
		go end()
	} else {
		end()
	}
}

// closeSession closes a session. The send queue of the TCP connection beneath one that is
// closed abruptly is dropped: the kernel would go on sending it for minutes.
func closeSession(sess transport.Session, code uint64, text string, abrupt bool) {
	if tcp, _ := unwrapTCP(sess); abrupt && tcp != nil {
		tcp.SetLinger(0)
	}
	sess.Close(code, text)
}

// reset closes conn such that its send queue is dropped, if it is TCP.
func reset(conn net.Conn) {
	if tcp, _ := unwrapTCP(conn); tcp != nil {
		tcp.SetLinger(0)
		tcp.Close() // first: closing TLS above it would want to send
	}
	conn.Close()
}
