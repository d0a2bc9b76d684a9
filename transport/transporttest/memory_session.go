package transporttest

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/livenet/livenet/transport"
)

// A memorySession is one end of a link. One mutex guards both ends and all
// their streams.
type memorySession struct {
	memory        *Memory
	mu            *sync.Mutex
	peer          *memorySession
	local, remote memoryAddr

	ctx    context.Context
	cancel context.CancelCauseFunc
	cause  *transport.CloseError // how it ended; nil while it is open
	cut    bool

	streams  map[*memoryStream]struct{} // streams that have not ended
	opened   int                        // how many of them this end opened
	incoming []*memoryStream            // streams that wait for AcceptStream
	changed  signal                     // cause, opened, incoming
}

func newLink(m *Memory, client, server memoryAddr) (dialled, accepted *memorySession) {
	mu := new(sync.Mutex)
	dialled = newMemorySession(m, mu, client, server)
	accepted = newMemorySession(m, mu, server, client)
	dialled.peer, accepted.peer = accepted, dialled
	return dialled, accepted
}

func newMemorySession(m *Memory, mu *sync.Mutex, local, remote memoryAddr) *memorySession {
	s := &memorySession{memory: m, mu: mu, local: local, remote: remote}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.streams = make(map[*memoryStream]struct{})
	return s
}

// Cut disconnects the link of s without notifying either end, like an unplugged cable.
// Nothing that one end does from now on reaches the other: no byte, no end of a stream, no
// Close. What had arrived can still be read. Writes fill a buffer until they block. Cut
// panics if s is not a session of [Memory].
func Cut(s transport.Session) {
	end := s.(*memorySession)
	end.mu.Lock()
	defer end.mu.Unlock()
	other := end.peer
	end.sever()
	other.sever()
}

// sever replaces the peer by one that never does anything.
func (s *memorySession) sever() {
	ghost := newMemorySession(s.memory, s.mu, s.remote, s.local)
	ghost.peer, s.peer, s.cut = s, ghost, true
	for st := range s.streams {
		into := &half{fin: st.out.fin, refused: st.out.refused}
		st.peer = &memoryStream{session: ghost, peer: st, in: into, out: st.in}
		st.out = into
	}
}

func (s *memorySession) OpenStream(ctx context.Context) (transport.Stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.cause != nil:
			return nil, s.cause
		case s.opened < s.memory.streams():
			return s.open(), nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
		s.changed.wait(s.mu, ctx.Done(), time.Time{})
	}
}

func (s *memorySession) open() *memoryStream {
	to, fro := new(half), new(half)
	here := &memoryStream{session: s, in: fro, out: to, opener: true}
	there := &memoryStream{session: s.peer, in: to, out: fro}
	here.peer, there.peer = there, here
	s.streams[here] = struct{}{}
	s.opened++
	s.peer.streams[there] = struct{}{}
	s.peer.incoming = append(s.peer.incoming, there)
	s.peer.changed.broadcast()
	return here
}

func (s *memorySession) AcceptStream(ctx context.Context) (transport.Stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.cause != nil:
			return nil, s.cause
		case len(s.incoming) > 0:
			st := s.incoming[0]
			s.incoming = s.incoming[1:]
			return st, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
		s.changed.wait(s.mu, ctx.Done(), time.Time{})
	}
}

// Answered asks the peer, which answers at once.
func (s *memorySession) Answered() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause == nil && !s.cut
}

func (s *memorySession) Multiplexed() bool        { return true }
func (s *memorySession) LocalAddr() net.Addr      { return s.local }
func (s *memorySession) RemoteAddr() net.Addr     { return s.remote }
func (s *memorySession) Context() context.Context { return s.ctx }

func (s *memorySession) Close(code uint64, text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finish(transport.CloseError{HasCode: true, Code: code, Text: text})
	return nil
}

// finish ends both ends of the link, each with its own view of the cause.
func (s *memorySession) finish(cause transport.CloseError) {
	here, there := cause, cause
	here.Origin, there.Origin = transport.Local, transport.Peer
	s.finishEnd(&here)
	s.peer.finishEnd(&there)
}

func (s *memorySession) finishEnd(cause *transport.CloseError) {
	if s.cause != nil {
		return
	}
	s.cause = cause
	s.cancel(cause)
	s.incoming = nil
	s.changed.broadcast()
	for st := range s.streams {
		st.changed.broadcast()
	}
	clear(s.streams)
}

// release removes the stream, so that another one may be opened.
func (s *memorySession) release(st *memoryStream) {
	if _, held := s.streams[st]; !held {
		return
	}
	delete(s.streams, st)
	if st.opener {
		s.opened--
		s.changed.broadcast()
	}
}
