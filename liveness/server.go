package liveness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/transport"
)

// Server serves the sessions of a transport's listener, each under the
// Config's policy. Its fields must not be changed once it serves.
type Server struct {
	Config

	// Streams, if not nil, is a policy for each stream, in addition to the session's
	// Policy, so that a long session can carry short requests. It is not used on a transport whose session
	// is one stream.
	Streams Policy

	// Codec frames the streams' bytes as messages; nil means [codec.Raw]. [codec.Auto]
	// accepts only frames if messages or beats are the evidence.
	Codec codec.Codec

	// Handler serves each stream on its own goroutine. When it returns, c is closed. When
	// the stream or its session ends, ctx is cancelled with the [*Error] as its cause; the
	// handler must then return, since Serve waits for it. It should keep reading: on a
	// transport other than TCP, unread input is no evidence. When the server drains,
	// [Conn.Draining] is closed, and the handler may finish what is under way.
	//
	// If Handler or Data panics, the connection ends with [Internal], and [Error].Err has
	// the stack.
	Handler func(ctx context.Context, c *Conn)

	// Data replaces Handler. It is called with each piece p of the peer's data, one call
	// at a time for each connection. It may use the connection as Handler does, but must
	// not keep p. The connection is closed when Data returns an error, or the peer has ended
	// its data. An idle connection holds no buffer, and no goroutine if the transport's
	// streams are [transport.Pollable].
	Data func(c *Conn, p []byte) error

	// OnOpen and OnClose are used only with Data. OnOpen is called before the first call of
	// Data for a connection, and OnClose after the last, on a goroutine of its own. If OnOpen
	// returns an error, the connection ends with [Internal], and Data is not called. In
	// OnClose, c.End says why the connection ended.
	OnOpen  func(c *Conn) error
	OnClose func(c *Conn)

	// MaxStreams is how many streams of a session are served at a time; 0 means 1024.
	// Further streams wait to be accepted.
	MaxStreams int

	// Drain is how long Serve waits for the sessions to end once its context has ended; 0
	// means 5 s.
	Drain time.Duration

	// RetryAfter is how long a peer should wait before it connects again after a drain. A
	// GoAway frame tells it, if the codec has one; 0 tells nothing.
	RetryAfter time.Duration

	sessionPolicy, streamPolicy atomic.Pointer[connPolicy] // set by Serve; streamPolicy is nil without Streams
	sessionCounts, streamCounts counters
	lingers                     lingers

	settingPolicy sync.Mutex // held by SetPolicy: the sessions keep the policy that the server does

	mu            sync.Mutex
	sessions      list
	served        bool
	draining      bool
	closed        bool
	policyChanged bool // since Serve began
	listeners     []transport.Listener
	idle          chan struct{}      // closed when draining and no session is left
	done          chan struct{}      // closed when Serve has returned
	stop          context.CancelFunc // stops accepting
	inShutdown    bool               // Shutdown's context, not Drain, bounds the drain
	serving       sync.WaitGroup
}

const (
	defaultDrain      = 5 * time.Second
	defaultMaxStreams = 1024
)

func (s *Server) maxStreams() int {
	if s.MaxStreams <= 0 {
		return defaultMaxStreams
	}
	return s.MaxStreams
}

// Counts returns the counts of sessions, or of streams, since the server began.
func (s *Server) Counts(k Kind) Counts {
	if k == KindStream {
		return s.streamCounts.read()
	}
	return s.sessionCounts.read()
}

// Serve accepts and serves the sessions of listeners until ctx ends or [Server.Shutdown]
// is called. Then it closes the listeners, asks the peers to finish, waits up to s.Drain or
// until Shutdown's context ends, ends the remaining sessions, waits for their handlers, and
// returns nil. If a listener fails for good, Serve does the same and returns the error. A
// server can serve only once.
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
				cancel() // the other listeners stop, too
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

// begin initializes s for serving. The lock is held, or s is not shared yet.
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

// check returns an error if the server's fields contradict each other. The lock is held.
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
		return errors.New("liveness: evidence of messages or beats needs a codec other than raw")
	}
	if s.Streams != nil {
		if err := s.checkAcks(s.Streams); err != nil {
			return err
		}
	}
	return s.checkPolicy(listeners, s.Policy)
}

// checkPolicy returns an error for a policy that a transport would pre-empt by its own idle
// timeout, or whose timeout is too short for the transport's keepalive.
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
		if longest := longestSilence(p); ok && i.IdleTimeout() > 0 && longest >= i.IdleTimeout() {
			return fmt.Errorf("liveness: the transport's idle timeout, %v, would end a session before the policy (%v) does: set it to more than %v",
				i.IdleTimeout(), describe(p), longest)
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

// Bounds of the wait between failed calls of Accept. Without file descriptors, say, Accept
// fails until sessions end.
const (
	firstBackoff = 5 * time.Millisecond
	lastBackoff  = time.Second
)

// hello returns the server's Hello: its timeout, and the interval of beats that it asks for.
// There are three beats in a timeout, so that one may be lost and one be late.
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

// add adds a session to the list. If the server was closed meanwhile, drain ends it.
func (s *Server) add(st *state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions.add(st)
	s.serving.Add(1)
	if s.policyChanged { // perhaps after the grant
		st.setPolicy(s.sessionPolicy.Load().Policy)
	}
}

// SetPolicy changes the policy of the sessions to come and of all open ones, also of those
// on which [Session.SetPolicy] was called. The peers of open sessions aren't told. It
// returns an error for a policy with which Serve would fail.
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

// remove removes a session that has ended and whose handler has returned.
func (s *Server) remove(st *state) {
	defer s.serving.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions.remove(st)
	s.checkIdle()
}
