package liveness

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/transport"
)

// A Handler serves one stream. It owns c until it returns; c is closed then.
// The context ends with the stream, or with its session; its cause is the
// [*Error] that says why. A handler must return once that has happened: Serve
// waits for it. It should keep reading: on a transport other than TCP, what it
// has not read is no evidence. When the server drains, writes fail with an
// [*Error] for [Draining] as soon as the peer has been told so.
type Handler func(ctx context.Context, c *Conn)

// Server serves the sessions of a transport's listener, each under the
// Config's policy. Its fields must not be changed once it serves.
type Server struct {
	Config

	// Streams, if not nil, judges each stream by itself, beside the session's
	// policy: a long session can carry short requests. It has no meaning where a
	// session is one stream.
	Streams Policy

	// Codec makes messages of the streams' bytes; nil means [codec.Raw].
	Codec codec.Codec

	// Handler serves each stream in a goroutine of its own. It is required.
	Handler Handler

	// Drain is how long Serve waits for peers to leave by themselves once its
	// context has ended; 0 means [DefaultDrain].
	Drain time.Duration

	sessionCounts, streamCounts ledger

	mu       sync.Mutex
	sessions map[*session]struct{}
	draining bool
	closed   bool
	idle     chan struct{} // closed when draining and the last session has gone
	closeAll context.CancelFunc
	serving  sync.WaitGroup
}

const DefaultDrain = 5 * time.Second

// Counts are the sessions, or the streams, since the server began.
func (s *Server) Counts(k Kind) Counts {
	if k == KindStream {
		return s.streamCounts.read()
	}
	return s.sessionCounts.read()
}

// Serve accepts and serves sessions of l until ctx ends. Then it closes l,
// tells the peers that it is draining, waits up to s.Drain for them to leave,
// ends those that have not, and returns nil. It returns early, and after the
// same farewell, with the error of a listener that fails for good. A server
// serves once.
func (s *Server) Serve(ctx context.Context, l transport.Listener) error {
	defer l.Close()
	if err := s.check(l); err != nil {
		return err
	}
	s.mu.Lock()
	if s.sessions != nil {
		s.mu.Unlock()
		return errors.New("liveness: this Server has served before")
	}
	s.sessions = make(map[*session]struct{})
	s.idle = make(chan struct{})
	accepting, cancel := context.WithCancel(ctx)
	s.closeAll = cancel
	closed := s.closed
	s.mu.Unlock()
	defer cancel()
	if closed {
		cancel()
	}

	s.emit(Event{What: Listening, Addr: l.Addr(), Policy: describe(s.Policy)})
	err := s.accept(accepting, context.WithoutCancel(ctx), l)
	l.Close()
	s.drain()
	s.serving.Wait()
	return err
}

// check finds what contradicts itself.
func (s *Server) check(l transport.Listener) error {
	switch {
	case s.Policy == nil:
		return ErrNoPolicy
	case s.Handler == nil:
		return errors.New("liveness: a server needs a handler")
	case s.Evidence != codec.Bytes && s.codec() == codec.Raw:
		return errors.New("liveness: the raw codec knows bytes only: it can't tell messages or beats")
	}
	return s.checkPatience(l)
}

// checkPatience refuses a transport that would end sessions before the policy
// does, and for a reason of its own.
func (s *Server) checkPatience(l transport.Listener) error {
	i, ok := l.(transport.Impatient)
	if !ok || i.Patience() <= 0 {
		return nil
	}
	if most := bears(s.Policy); most >= i.Patience() {
		return fmt.Errorf("liveness: the transport gives up a silent session after %v, before the policy (%v) does: give it more time than %v",
			i.Patience(), describe(s.Policy), most)
	}
	return nil
}

func (s *Server) codec() codec.Codec {
	if s.Codec == nil {
		return codec.Raw
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

// admit grants a session its lease and starts to serve it.
func (s *Server) admit(ctx context.Context, sess transport.Session) {
	x := newSession(ctx, s, sess)
	x.life.begin()
	s.mu.Lock()
	if s.closed || s.draining {
		s.mu.Unlock()
		x.life.end(Error{Reason: Draining})
		return
	}
	s.sessions[x] = struct{}{}
	s.serving.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.serving.Done()
		x.serve()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.sessions, x)
		s.checkIdle()
	}()
}

// checkIdle notes the moment when a drain is complete. The lock is held.
func (s *Server) checkIdle() {
	if s.draining && len(s.sessions) == 0 {
		select {
		case <-s.idle:
		default:
			close(s.idle)
		}
	}
}

// drain tells every peer, waits, and ends what is left.
func (s *Server) drain() {
	s.mu.Lock()
	s.draining = true
	s.checkIdle()
	closed := s.closed
	left := s.all()
	s.mu.Unlock()
	s.emit(Event{What: DrainBegan})
	if !closed {
		each(left, (*session).drain)
		wait := s.Drain
		if wait <= 0 {
			wait = DefaultDrain
		}
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-s.idle:
		case <-timer.C:
		}
	}
	s.endAll()
}

func (s *Server) endAll() {
	s.mu.Lock()
	left := s.all()
	s.mu.Unlock()
	each(left, func(x *session) { x.life.end(Error{Reason: Draining}) })
}

// each runs f on each session, several at a time, since a farewell may have to
// wait for a socket.
func each(list []*session, f func(*session)) {
	var wg sync.WaitGroup
	next := make(chan *session)
	for range min(mostExpiring, len(list)) {
		wg.Go(func() {
			for x := range next {
				f(x)
			}
		})
	}
	for _, x := range list {
		next <- x
	}
	close(next)
	wg.Wait()
}

// all is a list of the sessions. The lock is held.
func (s *Server) all() []*session {
	list := make([]*session, 0, len(s.sessions))
	for x := range s.sessions {
		list = append(list, x)
	}
	return list
}

// Close ends every session at once, for [Draining], and makes Serve return.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	stop := s.closeAll
	s.mu.Unlock()
	if stop != nil {
		stop()
	}
	s.endAll()
	return nil
}
