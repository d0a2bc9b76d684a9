package liveness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/transport"
)

// A Handler serves one stream. It owns c until it returns; c is closed then.
// The context ends with the stream, or with its session; its cause is the
// [*Error] that says why. A handler must return once that has happened: Serve
// waits for it. It should keep reading: on a transport other than TCP, what it
// has not read is no evidence. When the server drains, [Conn.Draining] is closed:
// the handler may finish what is under way.
type Handler func(ctx context.Context, c *Conn)

// Server serves the sessions of a transport's listener, each under the
// Config's policy. Its fields must not be changed once it serves.
type Server struct {
	Config

	// Streams, if not nil, judges each stream by itself, beside the session's
	// policy: a long session can carry short requests. It has no meaning where a
	// session is one stream.
	Streams Policy

	// Codec makes messages of the streams' bytes; nil means [codec.Raw]. [codec.Auto]
	// accepts frames only if messages or beats are the evidence.
	Codec codec.Codec

	// Handler serves each stream in a goroutine of its own. If it panics, or Data
	// does, the connection ends with [Internal], and the end's Err has the stack.
	Handler Handler

	// Data, in Handler's place, is called with what a peer has sent, piece by
	// piece as it comes, one call at a time for each connection. The connection
	// can be used as in a Handler; p must not be once Data has returned. The
	// connection is closed when Data returns an error, and when the peer has
	// ended its data. Between the calls an idle connection holds no buffer, and
	// on a transport whose streams are [transport.Pollable] no goroutine.
	Data func(c *Conn, p []byte) error

	// OnOpen and OnClose, with Data only, are called before the first and after the last
	// call of Data for a connection, on a goroutine of its own. If OnOpen returns an error
	// the connection ends with [Internal], and Data is not called. In OnClose c.End says
	// why the connection ended.
	OnOpen  func(c *Conn) error
	OnClose func(c *Conn)

	// MaxStreams is how many streams of a session are served at a time; 0 means
	// [DefaultMaxStreams]. Further ones wait to be accepted, as long as the
	// transport lets them.
	MaxStreams int

	// Drain is how long Serve waits for peers to leave by themselves once its
	// context has ended; 0 means [DefaultDrain].
	Drain time.Duration

	// RetryAfter is when peers that are asked to leave may connect again, where the
	// codec can say so; 0 says nothing of that.
	RetryAfter time.Duration

	sessionPolicy, streamPolicy atomic.Pointer[connPolicy] // set by Serve; of streams, nil: the session's
	sessionCounts, streamCounts counters
	lingers                     lingers

	settingPolicy sync.Mutex // held by SetPolicy: the sessions keep the policy that the server does

	mu            sync.Mutex
	sessions      list
	served        bool
	draining      bool
	closed        bool
	policyChanged bool // the policy
	listeners     []transport.Listener
	idle          chan struct{}      // closed when draining and the last session has gone
	done          chan struct{}      // closed when Serve has returned
	stop          context.CancelFunc // accepting
	inShutdown    bool               // Shutdown, and not Drain, says how long the peers may take
	serving       sync.WaitGroup
}

const (
	DefaultDrain      = 5 * time.Second
	DefaultMaxStreams = 1024
)

func (s *Server) maxStreams() int {
	if s.MaxStreams <= 0 {
		return DefaultMaxStreams
	}
	return s.MaxStreams
}

// Counts are the sessions, or the streams, since the server began.
func (s *Server) Counts(k Kind) Counts {
	if k == KindStream {
		return s.streamCounts.read()
	}
	return s.sessionCounts.read()
}

// Serve accepts and serves the sessions of listeners until ctx ends or [Server.Shutdown]
// is called. Then it closes the listeners, asks the peers to finish, waits for up to
// s.Drain, or as Shutdown says, ends the sessions that are left, waits for their handlers
// and returns nil. If a listener fails for good, Serve does the same, and returns the
// error. A server serves once.
func (s *Server) Serve(ctx context.Context, listeners ...transport.Listener) error {
	defer closeListeners(listeners)
	accepting, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := s.open(cancel, listeners); err != nil {
		return err
	}
	defer close(s.done)

	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		s.emit(Event{What: Listening, Addr: l.Addr(), Policy: describe(s.sessionPolicy.Load())})
		go func() {
			err := s.accept(accepting, context.WithoutCancel(ctx), l)
			if err != nil {
				cancel() // one server, one life
			}
			failed <- err
		}()
	}
	var err error
	for range listeners {
		err = cmp.Or(err, <-failed)
	}
	closeListeners(listeners)
	s.drain()
	return err
}

// open checks s and begins. Stop ends accepting.
func (s *Server) open(stop context.CancelFunc, listeners []transport.Listener) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(listeners); err != nil {
		return err
	}
	if s.served {
		return errors.New("liveness: this Server has served before")
	}
	s.begin()
	s.listeners, s.stop = listeners, stop
	if s.closed {
		stop()
	}
	return nil
}

// begin prepares for sessions. The lock is held, or nobody knows of s yet.
func (s *Server) begin() {
	s.served = true
	s.idle, s.done = make(chan struct{}), make(chan struct{})
	s.sessionPolicy.Store(s.policy(s.Policy))
	if s.Streams != nil {
		s.streamPolicy.Store(s.policy(s.Streams))
	}
}

func closeListeners(listeners []transport.Listener) {
	for _, l := range listeners {
		l.Close()
	}
}

// check finds what contradicts itself. The lock is held.
func (s *Server) check(listeners []transport.Listener) error {
	switch {
	case s.Policy == nil:
		return ErrNoPolicy
	case s.Handler == nil && s.Data == nil:
		return errors.New("liveness: a server needs a handler: Handler or Data")
	case s.Data == nil && (s.OnOpen != nil || s.OnClose != nil):
		return errors.New("liveness: OnOpen and OnClose go with Data")
	case s.Handler != nil && s.Data != nil:
		return errors.New("liveness: a server has one handler: Handler or Data")
	case s.Evidence > codec.Bytes && s.codec() == codec.Raw:
		return errors.New("liveness: the raw codec knows bytes only: it can't tell messages or beats")
	}
	if s.Streams != nil {
		if err := s.checkAcks(s.Streams); err != nil {
			return err
		}
	}
	return s.checkPolicy(listeners, s.Policy)
}

// checkPolicy refuses a policy that a transport would pre-empt, ending sessions for a
// reason of its own, or for which it asks too seldom.
func (s *Server) checkPolicy(listeners []transport.Listener, p Policy) error {
	if p == nil {
		return ErrNoPolicy
	}
	if err := cmp.Or(s.checkAcks(p), s.checkPace(p, s.Streams)); err != nil {
		return err
	}
	for _, l := range listeners {
		if err := s.checkKeepAlive(l, p); err != nil {
			return err
		}
		i, ok := transport.As[transport.IdleTimeouter](l)
		if most := longestSilence(p); ok && i.IdleTimeout() > 0 && most >= i.IdleTimeout() {
			return fmt.Errorf("liveness: the transport gives up a silent session after %v, before the policy (%v) does: give it more time than %v",
				i.IdleTimeout(), describe(p), most)
		}
	}
	return nil
}

func (s *Server) codec() codec.Codec {
	switch {
	case s.Codec == nil:
		return codec.Raw
	case s.Codec == codec.Auto && s.Evidence > codec.Bytes:
		return codec.Frame
	}
	return s.Codec
}

// Waits between tries to accept, while accepting fails: with no descriptor
// left, for instance, more of them come only as sessions end.
const (
	firstBackoff = 5 * time.Millisecond
	lastBackoff  = time.Second
)

// accept accepts until ctx ends or l fails for good.
func (s *Server) accept(ctx, sessions context.Context, l transport.Listener) error {
	backoff := firstBackoff
	for {
		sess, err := l.Accept(ctx)
		switch {
		case err == nil:
			backoff = firstBackoff
			s.admit(sessions, sess)
			if ctx.Err() != nil {
				return nil
			}
			continue
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrNoPolicy), isClosed(err):
			return err
		}
		s.emit(Event{What: AcceptFailed, Addr: l.Addr(), Err: err})
		timer := time.NewTimer(backoff)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		backoff = min(2*backoff, lastBackoff)
	}
}

// admit grants a session its lease and has it served. It waits for nothing of the
// session.
func (s *Server) admit(ctx context.Context, sess transport.Session) {
	if sess.Multiplexed() {
		x := newMultiSession(ctx, s, sess)
		x.state.begin()
		s.add(&x.state)
		x.state.announceThen(x.start)
		return
	}
	stream, err := sess.AcceptStream(ctx) // which there is from the beginning
	if err != nil {
		sess.Close(Internal.Code(), "")
		s.emit(Event{What: AcceptFailed, Err: err})
		return
	}
	c := s.newConn(stream)
	c.state.usePolicy(s.sessionPolicy.Load())
	c.serve(ctx)
}

// serve grants a server's connection its lease, and has it served by a goroutine of its
// own, or parked. It waits for nothing of the connection. False: its session has ended.
func (c *Conn) serve(ctx context.Context) bool {
	parks := c.srv.canPark(c)
	if parks {
		c.bits.Or(parkable | active)
	} else {
		c.initContext(ctx)
	}
	if !c.begin() {
		return false
	}
	c.register()
	switch {
	case parks && c.srv.OnOpen != nil:
		go func() {
			c.state.announce()
			c.openParked()
		}()
		return true
	case parks:
		c.state.announceThen(c.park)
		return true
	}
	go func() {
		defer c.unregister()
		c.state.announce()
		c.srv.handle(c)
	}()
	return true
}

// newConn is the connection of a stream, whose state is still to begin.
func (s *Server) newConn(stream transport.Stream) *Conn {
	c := &Conn{srv: s, stream: stream}
	c.state.cfg, c.state.owner = &s.Config, c
	if code := s.codec(); code != codec.Raw {
		hello := s.hello()
		c.framed = newFramed(c, code.Server(hello), s.maxBeats(hello.Beat))
	}
	return c
}

// hello is what the server states of itself: how long it bears silence, and
// how often it wants a beat in that time. Three chances are customary: one may
// be lost, and one late.
func (s *Server) hello() codec.Hello {
	h := codec.Hello{Evidence: s.Evidence}
	for _, p := range []*connPolicy{s.sessionPolicy.Load(), s.streamPolicy.Load()} {
		if p == nil {
			continue
		}
		if d, ok := silenceTimeout(p.Policy); ok && (h.Timeout == 0 || d < h.Timeout) {
			h.Timeout, h.Beat = d, d/beatsPerTimeout
		}
	}
	return h
}

const beatsPerTimeout = 3

// handle runs the handler on c, ends c when it returns, and waits until that
// has been told.
func (s *Server) handle(c *Conn) {
	defer c.awaitClosed()
	defer c.Close()
	defer c.recoverPanic()
	switch {
	case c.End() != nil: // it came too late
	case c.ctx != nil:
		s.Handler(c.ctx, c)
	default:
		c.serveData()
	}
}

// serveData is what handle does for a server with Data.
func (c *Conn) serveData() {
	defer func() {
		c.Close()
		c.awaitClosed()
		if c.srv.OnClose != nil {
			c.srv.OnClose(c)
		}
	}()
	defer c.recoverPanic()
	if c.opened() {
		c.deliverBlocking()
	}
}

// recoverPanic ends a connection whose handler panics. If it has ended before, no event
// tells of the panic, so that the log does.
func (c *Conn) recoverPanic() {
	if r := recover(); r != nil {
		err := &panicError{r, debug.Stack()}
		if !c.state.end(ending{Error: Error{Reason: Internal, Err: err}}) {
			c.state.logFailure(err)
		}
	}
}

// panicError is the error of a handler that panicked.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string {
	return fmt.Sprintf("the handler panicked: %v\n%s", p.value, p.stack)
}

// add counts a session among those that are served. If the server was closed
// meanwhile, drain is still to come, and ends it.
func (s *Server) add(st *state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions.add(st)
	s.serving.Add(1)
	if s.policyChanged { // perhaps since it was granted
		st.setPolicy(s.sessionPolicy.Load().Policy)
	}
}

// SetPolicy judges the sessions by p from now on: those that there are, whatever
// [Session.SetPolicy] has said of them, and those to come. Clients that are there are not
// told. It fails for a p that Serve would refuse.
func (s *Server) SetPolicy(p Policy) error {
	s.settingPolicy.Lock()
	defer s.settingPolicy.Unlock()
	s.mu.Lock()
	if !s.served {
		defer s.mu.Unlock()
		s.Policy = p
		return nil
	}
	if err := s.checkPolicy(s.listeners, p); err != nil {
		s.mu.Unlock()
		return err
	}
	s.sessionPolicy.Store(s.policy(p))
	s.policyChanged = true
	all := s.sessions.all()
	s.mu.Unlock()
	for _, st := range all {
		st.setPolicy(p)
	}
	return nil
}

func (s *Server) addConn(c *Conn)    { s.add(&c.state) }
func (s *Server) removeConn(c *Conn) { s.remove(&c.state) }

// remove is for a session that has ended, and is served no more.
func (s *Server) remove(st *state) {
	defer s.serving.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions.remove(st)
	s.checkIdle()
}

// checkIdle notes the moment when a drain is complete. The lock is held.
func (s *Server) checkIdle() {
	if s.draining && s.sessions.n == 0 {
		select {
		case <-s.idle:
		default:
			close(s.idle)
		}
	}
}

func (s *Server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// drain asks every peer to finish, waits, and ends what is left.
func (s *Server) drain() {
	s.mu.Lock()
	s.draining = true
	s.checkIdle()
	wait := s.Drain
	if wait <= 0 {
		wait = DefaultDrain
	}
	if s.closed {
		wait = 0
	}
	left := s.sessions.all()
	s.mu.Unlock()
	s.emit(Event{What: DrainBegan})
	until := time.Now().Add(wait)
	if wait > 0 {
		each(left, func(st *state) { st.owner.drain() })
		s.awaitIdle(until)
	}
	s.endAll()
	s.serving.Wait()
	rest := max(time.Until(until), lingerShort.time)
	if s.isInShutdown() {
		rest = lingerWhole.time // Shutdown ends them if they take too long
	}
	s.lingers.wait(rest)
}

func (s *Server) isInShutdown() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inShutdown
}

// awaitIdle waits until the last session has gone, or until is past and no Shutdown gives
// them longer.
func (s *Server) awaitIdle(until time.Time) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-s.idle:
		return
	case <-timer.C:
	}
	if s.isInShutdown() {
		<-s.idle // Shutdown ends the sessions if they take too long
	}
}

// Shutdown makes Serve stop accepting, asks the peers to finish, and waits until all
// sessions have ended and Serve has returned. If ctx ends first, it ends the sessions that
// are left, for [Draining], waits a second at most for their handlers, and returns ctx's
// error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.inShutdown = true
	served, stop := s.served, s.stop
	if !served {
		s.closed = true // Serve, if it comes, ends at once
	}
	s.mu.Unlock()
	if !served {
		return nil
	}
	stop()
	select { // done beats a context that has ended as well
	case <-s.done:
		return nil
	default:
	}
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
	}
	s.Close()
	select {
	case <-s.done:
	case <-time.After(lingerShort.time):
	}
	return ctx.Err()
}

// drainConns is Shutdown for the connections of a [Listener], which have no handlers that
// could be waited for.
func (s *Server) drainConns(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	if s.idle == nil {
		s.idle = make(chan struct{})
	}
	s.checkIdle()
	left := s.sessions.all()
	s.mu.Unlock()
	for _, st := range left {
		st.reach(draining)
	}
	select {
	case <-s.idle:
		return nil
	case <-ctx.Done():
	}
	s.endAll()
	s.awaitIdle(time.Now().Add(beforeCloseTime))
	return ctx.Err()
}

func (s *Server) endAll() {
	s.mu.Lock()
	left := s.sessions.all()
	s.mu.Unlock()
	each(left, func(st *state) { st.endAfterHook(ending{Error: Error{Reason: Draining}, async: true}) })
}

// each runs f on each session, several at a time, since sending a frame may take a
// moment.
func each(list []*state, f func(*state)) {
	var wg sync.WaitGroup
	next := make(chan *state)
	for range min(maxWorkers, len(list)) {
		wg.Go(func() {
			for st := range next {
				f(st)
			}
		})
	}
	for _, st := range list {
		next <- st
	}
	close(next)
	wg.Wait()
}

// Close ends every session at once, for [Draining], but for what [Conn.BeforeClose] set,
// and makes Serve return within a second.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	stop := s.stop
	s.mu.Unlock()
	if stop != nil {
		stop()
	}
	s.endAll()
	time.AfterFunc(lingerShort.time, s.lingers.end)
	return nil
}
