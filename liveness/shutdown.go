package liveness

import (
	"context"
	"sync"
	"time"
)

// checkIdle closes idle when a drain is complete. The lock is held.
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

// drain asks every peer to finish, waits, and ends the remaining sessions.
func (s *Server) drain() {
	s.mu.Lock()
	s.draining = true
	s.checkIdle()
	wait := s.Drain
	if wait <= 0 {
		wait = defaultDrain
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

// awaitIdle waits until no session is left, or until has passed and Shutdown wasn't called.
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
// sessions have ended and Serve has returned. If ctx ends first, it ends the remaining
// sessions for [Draining], waits at most a second for their handlers, and returns ctx's
// error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.inShutdown = true
	served, stop := s.served, s.stop
	if !served {
		s.closed = true // a later Serve returns at once
	}
	s.mu.Unlock()
	if !served {
		return nil
	}
	stop()
	select { // prefer done over an ended context
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

// drainConns is Shutdown for the connections of a [Listener], which have no handlers to wait
// for.
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

// each calls f on each session, several at a time, since sending a frame may block for
// controlTime.
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

// Close ends every session for [Draining], at once unless [Conn.BeforeClose] set a function,
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
