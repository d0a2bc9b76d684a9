package liveness

import (
	"cmp"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/transport"
)

// Conn is a connection under a policy: an ordinary, blocking net.Conn that is
// closed when its deadline has passed. What the peer sends renews its lease as
// it is read. Its own deadlines are the application's, and mean what they mean
// everywhere. Once it has ended, Read and Write return the [*Error] that says
// why.
//
// On a stream with a codec, Read and Write carry the application's data;
// heartbeats, Hellos and the peer's Close are dealt with underneath, by
// the calls of Read that the application makes anyway.
type Conn struct {
	state       state
	stream      net.Conn
	framed      *framed               // nil: bytes as they are
	dialed      *dialed               // nil: accepted here
	readLock    sync.Mutex            // held while reading from the stream
	multiplexed bool                  // it is one of several streams of its session
	bits        atomic.Uint32         // see parked.go
	srv         *Server               // nil: no server's
	ctx         *handlerContext       // nil: it has no handler
	extra       atomic.Pointer[extra] // nil: it has nothing of that

	// deadlines is held to set one of the stream's: the application's calls stop when
	// the connection ends, since from then on the closing sets them.
	deadlines sync.Mutex
}

// A extra is what few connections have.
type extra struct {
	pacer       *pacer                       // nil: the peer may be as slow as it likes
	addrs       atomic.Pointer[[2]net.Addr]  // of a NewConn's stream, once they are known
	beforeClose atomic.Pointer[func(*Error)] // nil: none
	value       atomic.Pointer[any]          // SetValue's
}

// ensureExtra makes c's rare, if it has none.
func (c *Conn) ensureExtra() *extra {
	r := c.extra.Load()
	if r == nil {
		c.extra.CompareAndSwap(nil, new(extra))
		r = c.extra.Load()
	}
	return r
}

func (c *Conn) pacer() *pacer {
	if r := c.extra.Load(); r != nil {
		return r.pacer
	}
	return nil
}

// NewConn puts conn under cfg's policy, from now. It panics if cfg has none.
// Closing the result closes conn.
func NewConn(conn net.Conn, cfg *Config) *Conn {
	if cfg == nil || cfg.Policy == nil {
		panic("liveness: NewConn without a policy")
	}
	if err := cmp.Or(cfg.checkAcks(cfg.Policy), cfg.checkPace(cfg.Policy)); err != nil {
		panic(err)
	}
	return newConn(conn, cfg, cfg.policy(cfg.Policy), nil)
}

// newConn puts conn under a policy that has an opening phase already.
func newConn(conn net.Conn, cfg *Config, policy *connPolicy, srv *Server) *Conn {
	c := &Conn{stream: conn, srv: srv}
	c.bits.Store(wrapped | noHandler)
	c.state.cfg, c.state.owner = cfg, c
	c.state.usePolicy(policy)
	c.begin()
	c.register()
	c.state.announceThen(func() {})
	return c
}

// begin grants the lease. False: the connection's session has ended.
func (c *Conn) begin() bool {
	if p := newPacer(c); p != nil {
		c.ensureExtra().pacer = p
	}
	if !c.state.begin() {
		return false
	}
	c.pacer().start()
	return true
}

// Read reads what the peer sent. It is io.EOF when the peer has ended its
// data, and an [*Error] when the connection has ended.
func (c *Conn) Read(p []byte) (int, error) {
	c.readLock.Lock()
	defer c.readLock.Unlock()
	if c.framed != nil {
		return c.framed.in.read(p)
	}
	if e := c.End(); e != nil {
		return 0, e
	}
	n, err := c.stream.Read(p)
	return c.afterRead(n, err)
}

// readOnce is Read with one call of read, which may be that of a [transport.Pollable].
// There may be nothing in it for the application: then n is 0.
func (c *Conn) readOnce(p []byte, read func([]byte) (int, error)) (int, error) {
	c.readLock.Lock()
	defer c.readLock.Unlock()
	if c.framed != nil {
		return c.framed.in.readOnce(p, read)
	}
	if e := c.End(); e != nil {
		return 0, e
	}
	n, err := read(p)
	if err == transport.ErrWouldBlock {
		c.afterRead(n, nil) // TLS may have both
		return n, err
	}
	return c.afterRead(n, err)
}

// afterRead takes note of what was read from a stream without a codec.
func (c *Conn) afterRead(n int, err error) (int, error) {
	if n > 0 {
		c.state.addIn(n)
		if c.state.cfg.Evidence <= codec.Bytes {
			c.state.renew()
		}
		c.yield(n)
	}
	if err != nil {
		err = c.readError(err)
	}
	return n, err
}

// fairShare is after how many bytes of input a connection lets others run. A flood of
// tiny frames would use up the time slice of every goroutine that reads one.
const fairShare = 4 << 10

// yield lets others run if the latest n bytes of input have used up a share.
func (c *Conn) yield(n int) {
	if total := c.state.in.Load(); total/fairShare != (total-int64(n))/fairShare {
		runtime.Gosched()
	}
}

// Write sends p to the peer. It never counts as a sign of the peer's life.
func (c *Conn) Write(p []byte) (int, error) {
	if c.framed != nil {
		n, err := c.framed.out.write(p)
		return n, c.awaitReason(err)
	}
	n, err := c.send(p)
	if err != nil {
		err = c.writeError(err)
	}
	return n, err
}

// awaitReason returns the end that a Read under way finds in a moment, in place of what a
// Write saw of it: over QUIC the Close frame and the end of the peer's reading come at once.
func (c *Conn) awaitReason(err error) error {
	const moment = 100 * time.Millisecond
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Initiator != Peer || !e.Reason.observed() || c.End() == nil && !c.isReading() {
		return err
	}
	timer := time.NewTimer(moment)
	defer timer.Stop()
	select {
	case <-c.Done():
		return c.End()
	case <-timer.C:
		return err
	}
}

// send writes b to the stream.
func (c *Conn) send(b []byte) (int, error) {
	if p := c.pacer(); p != nil && p.socket == nil {
		return p.write(b)
	}
	n, err := c.stream.Write(b)
	c.state.addOut(n)
	return n, err
}

// readError is what an error of reading from the stream means to the application.
// Where nothing more can be read, it ends the connection.
func (c *Conn) readError(err error) error {
	if err == io.EOF {
		c.bits.Or(peerEnded)
	}
	e := c.classify(err)
	switch {
	case c.End() != nil:
		return c.End()
	case e == nil:
		return err
	case c.exchangingHellos():
		return &c.state.setPending(endingFrom(e)).Error
	}
	return c.state.fail(e)
}

// writeError is the same for writing. What has come before can still be read.
func (c *Conn) writeError(err error) error {
	e := c.classify(err)
	switch {
	case c.End() != nil:
		return c.End()
	case e == nil:
		return err
	}
	return &c.state.setPending(endingFrom(e)).Error
}

// classify is how a connection that has not ended ends by an error of the stream; nil: it
// does not.
func (c *Conn) classify(err error) *Error {
	var closed *transport.CloseError
	switch {
	case err == io.EOF:
		e := Error{Reason: PeerClosed, Initiator: Peer}
		switch {
		case c.framed == nil || !c.framed.coder.CanClose(): // nothing but EOF ends data
			e.Initiator = c.state.dataEnded(Peer)
		case c.framed.in.whole.Load():
			e.Reason = Done
		}
		c.state.setPending(ending{Error: e})
		return nil
	case errors.As(err, &closed) && (closed.Origin != transport.Local || closed.HasCode): // not just a half
		return explain(err)
	case c.kernelGaveUp(err):
		return &Error{Reason: Silent, Err: err}
	case timedOut(err): // the application's own deadline
		return nil
	case errors.Is(err, net.ErrClosed): // a half that the application closed
		return nil
	}
	return explain(err)
}

// Renew records a sign of the peer's life that the application has seen by
// itself. It reports whether the connection is live.
func (c *Conn) Renew() bool {
	c.bits.Or(renewedByApp)
	c.state.renew()
	return c.End() == nil
}

// SetValue keeps a value of the application's with the connection, for message-driven
// handlers: see [Server].Data.
func (c *Conn) SetValue(v any) { c.ensureExtra().value.Store(&v) }

// Value is what SetValue has kept, or nil.
func (c *Conn) Value() any {
	if r := c.extra.Load(); r != nil {
		if v := r.value.Load(); v != nil {
			return *v
		}
	}
	return nil
}

// ID is the number by which events know the session, or the stream of one of several.
func (c *Conn) ID() uint64 { return c.state.id }

// SessionID is, of one of several streams, the number by which events know its session;
// 0: the connection is the session.
func (c *Conn) SessionID() uint64 {
	if c.state.parent == nil {
		return 0
	}
	return c.state.parent.id
}

// End is why the connection ended, or nil while it lives.
func (c *Conn) End() *Error { return c.state.endError() }

// Draining is closed when either end is going away: the other one is to finish what is
// under way, and begin nothing new. Reading and writing go on. It is closed, too, once
// the connection has ended.
func (c *Conn) Draining() <-chan struct{} { return c.state.signal().draining.c }

// Done is closed when the connection has ended: End says why.
func (c *Conn) Done() <-chan struct{} { return c.state.signal().closed.c }

// Deadline is when the connection is closed if the peer is not heard again;
// the zero time if nothing ever closes it.
func (c *Conn) Deadline() time.Time { return c.state.deadline() }

// PeerHello is what the peer stated of itself, or nil.
func (c *Conn) PeerHello() *codec.Hello {
	if c.framed == nil {
		return nil
	}
	return c.framed.hello.Load()
}

// NetConn is the connection beneath. What is read from it directly is not
// evidence, except to the kernel, which is asked before a TCP connection is
// judged dead.
func (c *Conn) NetConn() net.Conn { return c.stream }

func (c *Conn) LocalAddr() net.Addr  { return c.stream.LocalAddr() }
func (c *Conn) RemoteAddr() net.Addr { return c.stream.RemoteAddr() }

// CloseWrite ends this direction: the peer reads EOF. Where the codec has a frame
// for that, heartbeats go on.
func (c *Conn) CloseWrite() error {
	if c.framed != nil {
		return c.framed.out.closeWrite()
	}
	c.state.dataEnded(Local)
	return closeWrite(c.stream)
}

func closeWrite(conn net.Conn) error {
	if h, ok := conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return &net.OpError{Op: "close", Net: conn.RemoteAddr().Network(), Addr: conn.RemoteAddr(), Err: errors.ErrUnsupported}
}

// Close ends the connection. The reason is done, unless the peer had ended it
// before. What was written still arrives: a server's connection is waited for in the
// background, a dialled one by Close, for 5 s at most.
func (c *Conn) Close() error {
	c.state.finish()
	c.awaitClosed()
	return nil
}

// CloseWith is Close for a reason of the application's. The peer is told, with a few
// words if text isn't empty, where codec or transport can.
func (c *Conn) CloseWith(r Reason, text string) error {
	if !c.state.endAfterHook(ending{Error: Error{Reason: r, Text: text}, abrupt: r.abrupt()}) {
		c.state.finish() // the caller may be who is waited for
	}
	c.awaitClosed()
	return nil
}

func (c *Conn) awaitClosed() {
	c.state.awaitClosed()
	if c.dialed != nil {
		<-c.dialed.sessionClosed.c
	}
}

func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *Conn) SetReadDeadline(t time.Time) error {
	c.deadlines.Lock()
	defer c.deadlines.Unlock()
	if c.End() != nil {
		return net.ErrClosed
	}
	return c.stream.SetReadDeadline(t)
}

func (c *Conn) SetWriteDeadline(t time.Time) error {
	if c.framed != nil {
		return c.framed.out.setDeadline(t)
	}
	c.deadlines.Lock()
	defer c.deadlines.Unlock()
	if c.End() != nil {
		return net.ErrClosed
	}
	return c.stream.SetWriteDeadline(t)
}

// A Conn owns its state.

// addrs is the session's where the connection is one. A stream that was given to
// NewConn is asked once: its answer may take long.
func (c *Conn) addrs() (local, remote net.Addr) {
	if !c.isWrapped() {
		return c.stream.LocalAddr(), c.stream.RemoteAddr()
	}
	r := c.ensureExtra()
	a := r.addrs.Load()
	if a == nil {
		a = &[2]net.Addr{c.stream.LocalAddr(), c.stream.RemoteAddr()}
		r.addrs.Store(a)
	}
	return a[0], a[1]
}

// tcpSocket is made when it is asked, which is seldom.
func (c *Conn) tcpSocket() *tcpSocket {
	if c.multiplexed {
		return nil
	}
	s := tcpSocketOf(c.stream)
	if s != nil {
		s.dialed, s.noReader, s.writing = c.dialed != nil, !c.isReading(), c.isWriting()
	}
	return s
}

func (c *Conn) transportConn() any { return c.stream }

func (c *Conn) session() transport.Session {
	if c.dialed == nil {
		return nil
	}
	return c.dialed.sess
}

func (c *Conn) preparePolicy(p Policy) (sample time.Duration) {
	evidence := c.state.cfg.Evidence
	switch {
	case c.multiplexed && c.dialed != nil && evidence == codec.Acks:
		return sampleInterval(c.dialed.sess, p)
	case c.multiplexed:
	case evidence == codec.Acks, evidence == 0 && c.isWrapped():
		c.enableAcks(p)
	}
	return 0
}

func (c *Conn) lastHeard() (ago time.Duration, sure, ok bool) {
	switch {
	case c.bits.Load()&acksAreEvidence != 0:
		return c.lastAcked()
	case c.multiplexed && c.state.cfg.Evidence == codec.Acks && c.dialed != nil:
		return 0, false, c.state.sample(c.dialed.sess, true)
	case c.multiplexed && c.state.cfg.Evidence == codec.Acks: // the session's stack is the stream's
		return c.state.parent.silence(), false, true
	}
	return c.tcpSocket().lastHeard(c.state.cfg.Evidence, c.state.in.Load() > 0)
}

// isReading reports whether somebody is reading, or nobody needs to any more.
func (c *Conn) isReading() bool {
	if c.srv != nil && c.srv.Data != nil {
		return c.bits.Load()&inData == 0
	}
	if c.bits.Load()&waitingToRead != 0 || !c.readLock.TryLock() {
		return true
	}
	defer c.readLock.Unlock()
	return c.framed != nil && c.framed.in.over != nil
}

// isWriting reports whether somebody is writing. Without a codec it isn't known.
func (c *Conn) isWriting() bool { return c.framed == nil || c.framed.out.writing.Load() }

func (c *Conn) counters() *counters {
	switch {
	case c.srv == nil:
		return nil
	case c.state.parent != nil:
		return &c.srv.streamCounts
	}
	return &c.srv.sessionCounts
}

// probe asks the peer for a sign of life. Only a peer whose window is full is worth
// another try.
func (c *Conn) probe() bool {
	if c.multiplexed && c.dialed != nil && c.state.cfg.Evidence == codec.Acks {
		c.state.sample(c.dialed.sess, true)
	}
	return c.framed == nil || c.ping() || !c.framed.out.blocked.Load()
}

// ping sends a beat. False: it can't be sent now, or the codec has none. A peer that
// was never heard may be in the middle of a handshake, which is not waited for.
func (c *Conn) ping() bool {
	if c.framed == nil || c.dialed == nil && c.state.in.Load() == 0 {
		return false
	}
	return c.framed.out.sendPing()
}

// drain asks the peer to finish. One whose codec has no frame for that is left alone
// until its time is up, since an EOF in the middle of an answer would look like its
// end; one that was never heard is not waited for.
func (c *Conn) drain() {
	if !c.sendGoAway() {
		c.state.end(ending{Error: Error{Reason: Draining}})
	}
}

// retryAfter is when the peer may connect again.
func (c *Conn) retryAfter() time.Duration {
	if c.srv == nil {
		return 0
	}
	return c.srv.RetryAfter
}

// sendGoAway reports false if there is nothing to wait for.
func (c *Conn) sendGoAway() bool {
	if c.state.in.Load() == 0 {
		return false
	}
	c.state.reach(draining)
	if c.framed != nil && c.framed.coder.CanClose() {
		c.framed.out.queue.Or(goAwayFrame)
		c.framed.out.sendControl()
	}
	return true
}

var (
	_ net.Conn = (*Conn)(nil)
	_ owner    = (*Conn)(nil)
)
