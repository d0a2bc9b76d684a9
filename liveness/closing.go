package liveness

import (
	"io"
	"net"
	"runtime/debug"
	"time"

	"github.com/livenet/livenet/transport"
)

// A Conn is closed in this order, after the function that [Conn.BeforeClose] set:
//
//  1. The reason is stored and the handler's context ends, so that calls which return
//     because of the next steps return the reason.
//  2. The application's blocked calls return.
//  3. The rest of a partly sent frame and a Close frame are sent.
//  4. The write side is closed (FIN). The connection is reset instead if it ends abruptly;
//     or if the peer would take EOF for the end of complete data, once all that was sent is
//     acknowledged.
//  5. The end is counted, the Closed event is emitted, and Close returns.
//  6. The linger: input is read and dropped until the peer closes its side. A kernel that
//     closes a socket with unread input sends RST, and the peer loses what it has not read.
//  7. The stream is closed, and its session if it has no other stream.
//
// Only the linger waits for the peer. It is a goroutine that does 4, 6 and 7, and 3 if the
// peer's window was full. A stream of several needs no 6.

// A lingerLimit bounds the linger: in time, and in bytes of input that are dropped.
type lingerLimit struct {
	time  time.Duration
	bytes int64
}

var (
	// After an end by the application: what it wrote should arrive, also at a slow reader.
	lingerWhole = lingerLimit{30 * time.Second, 16 << 20}
	// After a missed deadline or a protocol error.
	lingerShort = lingerLimit{time.Second, 1 << 20}
	// Of a dialled connection, whose Close waits for the linger.
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

// teardown does steps 1 to 3, and without a linger 4 and 7.
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
	case e.ofSession: // the session's CONNECTION_CLOSE or GoAway carries the reason
		c.interrupt() // it may be a while until then
	default:
		c.interrupt()
		c.endStreams(e)
		sent, flushed := c.sendClose(e, controlTime)
		c.endWrite(e, sent, flushed)
	}
}

// beforeCloseTime bounds the function that [Conn.BeforeClose] set.
const beforeCloseTime = time.Second

// BeforeClose sets a function that is called once before this end closes the connection
// because a deadline has passed, CloseWith was called, or the server shuts down. It can
// send the close frame of the application's own protocol: the connection can be read and
// written until f returns, for a second at most. If f closes it, the reason stays.
//
// f is not called if the application calls Close; if the peer has ended the connection, was
// never heard or is [Silent]; or if the connection is a stream whose session ends. A later
// call of BeforeClose replaces f.
func (c *Conn) BeforeClose(f func(*Error)) { c.ensureExtra().beforeClose.Store(&f) }

// endAfterHook ends the state after the function that BeforeClose set. If there is one, it
// runs on another goroutine, and endAfterHook returns at once. It returns false if the
// function is running already for an earlier end.
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
		defer s.end(e) // also when f panics, or ends its goroutine
		defer func() {
			if r := recover(); r != nil {
				s.logFailure(&panicError{r, debug.Stack()})
			}
		}()
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
	truncated := c.truncates(e)
	switch {
	case e.abrupt, truncated && acknowledged(c.stream):
		c.closeWrapped(e, func() { reset(c.stream) })
	case truncated:
		c.interrupt()
		go func() { // the caller must not wait for the peer
			awaitAcknowledged(c.stream, lingerShort.time, nil)
			reset(c.stream)
		}()
	default:
		c.closeWrapped(e, func() { c.stream.Close() })
	}
}

// closeWrapped calls end. On a worker of the engine it does so on a new goroutine, since a
// close of TLS waits for a peer that does not read.
func (c *Conn) closeWrapped(e *ending, end func()) {
	if e.async {
		go end()
	} else {
		end()
	}
}

// truncates reports whether the peer would take EOF for the end of complete data although e
// truncates it. It is false if nothing was sent in either direction, unless the upstream
// failed: the peer may wait for a service that speaks first.
func (c *Conn) truncates(e *ending) bool {
	return e.Initiator == Local && !e.whole() && !e.Reason.observed() &&
		(c.state.in.Load() > 0 || c.state.out.Load() > 0 || e.Reason == UpstreamFailed || e.Reason == NoTunnel)
}

// past is a deadline that makes blocked calls return.
var past = time.Unix(1, 0)

// interrupt makes the application's blocked calls return.
func (c *Conn) interrupt() {
	c.deadlines.Lock()
	defer c.deadlines.Unlock()
	c.stream.SetReadDeadline(past)
	c.stream.SetWriteDeadline(past)
}

// sendClose sends the rest of a frame and a Close frame, within d. It reports whether a
// Close frame was sent, and whether nothing is left to be sent. It sends nothing to a peer
// that was never heard: a TLS handshake may be under way, which would block the write.
func (c *Conn) sendClose(e *ending, d time.Duration) (sent, flushed bool) {
	if c.framed == nil || e.fromPeer || c.state.in.Load() == 0 {
		return false, true
	}
	w := &c.framed.out
	w.mu.Lock()
	defer w.mu.Unlock()
	if d <= controlTime && (w.rest != nil || w.blocked.Load()) {
		return false, false // the window is full: the linger sends it, or the peer is reset
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

// endWrite does step 4, and 7 if no linger is needed.
func (c *Conn) endWrite(e *ending, sent, flushed bool) {
	s := c.stream.(transport.Stream)
	switch {
	case c.multiplexed && c.dialed == nil:
		switch {
		case sent || flushed && e.whole() || e.fromPeer:
			c.close(e)
		case flushed || e.abrupt:
			s.Reset(e.Reason.Code()) // the code carries the reason
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
	case flushed && (c.bits.Load()&peerEnded != 0 || c.state.out.Load() == 0): // no input will follow, or no output can be lost
		if e.async { // a close of TLS may block
			c.inBackground(func() { c.close(e) })
		} else {
			c.close(e)
		}
	default:
		c.inBackground(func() { c.linger(e, sent, flushed) })
	}
}

// inBackground runs do on a goroutine, for which the server waits when it shuts down.
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

// linger does steps 4, 6 and 7, and first 3 if that is not done. It reads while it writes:
// the peer may read only after its own writes have gone through.
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
	case !flushed: // FIN within a frame would be a protocol error
		c.stream.(transport.Stream).Reset(e.Reason.Code())
	case !sent && !c.multiplexed && c.truncates(e):
		awaitAcknowledged(c.stream, limit.time, failed)
		c.stream.(transport.Stream).Reset(e.Reason.Code())
	case c.multiplexed && c.dialed == nil: // the session delivers what was written
		c.stream.Close()
	case closeWrite(c.stream) != nil:
		c.stream.Close()
	}
	<-read
	c.close(e)
}

// awaitRead waits until the application's interrupted read has returned; later reads don't
// touch the stream. It returns the latch that readBeats opens at its end; nil: there is none.
func (c *Conn) awaitRead() *latch {
	c.readLock.Lock()
	defer c.readLock.Unlock()
	if c.framed == nil {
		return nil
	}
	return c.framed.in.beats
}

// awaitAcknowledged waits until the peer's kernel has acknowledged all that was sent, or
// failed is closed, for d at most. Where the send queue can't be queried, it waits 0.2 s.
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

// acknowledged reports whether the peer's kernel has acknowledged all that was sent, so that
// a reset loses nothing. It is true for everything but TCP.
func acknowledged(conn net.Conn) bool {
	tcp, _ := unwrapTCP(conn)
	return tcp == nil || unacknowledged(tcp) == 0
}

// close closes the stream, and the session of a dialled connection.
func (c *Conn) close(e *ending) {
	c.stream.Close()
	if c.dialed == nil {
		return
	}
	code, text := e.Reason.Code(), e.Text
	if c.multiplexed && e.fromPeer { // the peer ended the stream, and this end the session
		code, text = Done.Code(), ""
	}
	end := func() {
		closeSession(c.dialed.sess, code, text, e.abrupt)
		c.dialed.sessionClosed.open()
	}
	if e.async { // a close of yamux may block
		go end()
	} else {
		end()
	}
}

// closeSession closes sess. If abrupt, it drops the send queue of the TCP connection that
// carries it, which the kernel would retransmit for minutes.
func closeSession(sess transport.Session, code uint64, text string, abrupt bool) {
	if tcp, _ := unwrapTCP(sess); abrupt && tcp != nil {
		tcp.SetLinger(0)
	}
	sess.Close(code, text)
}

// reset closes conn. If it is TCP, its send queue is dropped.
func reset(conn net.Conn) {
	if tcp, _ := unwrapTCP(conn); tcp != nil {
		tcp.SetLinger(0)
		tcp.Close() // first, since TLS sends an alert when it is closed
	}
	conn.Close()
}
