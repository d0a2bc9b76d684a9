package transporttest

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
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
	cause  *transport.CloseError // how it ended; nil while it lives

	streams  map[*memoryStream]struct{} // those that hold a slot
	opened   int                        // how many of them this end opened
	incoming []*memoryStream            // those that wait for AcceptStream
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

// Cut makes the link of s go dead silent, whichever of its ends s is. Nothing
// that either end does from now on reaches the other: no byte, no end of a
// stream, no Close. Neither is told. What had arrived can still be read; what
// is written from now on fills a buffer, as it fills that of a kernel, until
// Write blocks. Cut panics if s is not a session of [Memory].
func Cut(s transport.Session) {
	end := s.(*memorySession)
	end.mu.Lock()
	defer end.mu.Unlock()
	other := end.peer
	end.sever()
	other.sever()
}

// sever puts in the place of the peer one that never stirs.
func (s *memorySession) sever() {
	ghost := newMemorySession(s.memory, s.mu, s.remote, s.local)
	ghost.peer, s.peer = s, ghost
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

func (s *memorySession) Multiplexed() bool        { return true }
func (s *memorySession) LocalAddr() net.Addr      { return s.local }
func (s *memorySession) RemoteAddr() net.Addr     { return s.remote }
func (s *memorySession) Context() context.Context { return s.ctx }

func (s *memorySession) Close(code uint64, text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finish(transport.CloseError{Coded: true, Code: code, Text: text})
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

// release gives the stream's slot back, if it holds one.
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

// A half is one direction of a stream.
type half struct {
	buf     bytes.Buffer
	fin     bool // the writer: nothing follows what is in buf
	drained bool // the reader has seen that
	refused bool // the reader does not want any more
}

func (h *half) done() bool { return h.refused || h.fin && h.drained }

// A memoryStream is one end of a stream: its peer's out is its own in.
type memoryStream struct {
	session *memorySession
	peer    *memoryStream
	in, out *half
	opener  bool

	cause                       *transport.CloseError // how this end of it ended
	writing                     bool                  // a Write is on: the next one waits its turn
	readDeadline, writeDeadline time.Time
	changed                     signal // all of the above
}

// ended returns the error of everything that is done with st after its end.
func (st *memoryStream) ended() error {
	switch {
	case st.cause != nil:
		return st.cause
	case st.session.cause != nil:
		return st.session.cause
	}
	return nil
}

func (st *memoryStream) Read(p []byte) (int, error) {
	mu := st.session.mu
	mu.Lock()
	defer mu.Unlock()
	for {
		if err := st.ended(); err != nil {
			return 0, err
		}
		switch {
		case passed(st.readDeadline):
			return 0, st.opError("read", os.ErrDeadlineExceeded)
		case len(p) == 0:
			return 0, nil
		case st.in.buf.Len() > 0:
			st.peer.changed.broadcast()
			return st.in.buf.Read(p)
		case st.in.fin:
			st.in.drained = true
			st.settle()
			return 0, io.EOF
		}
		st.changed.wait(mu, nil, st.readDeadline)
	}
}

func (st *memoryStream) Write(p []byte) (n int, err error) {
	mu := st.session.mu
	mu.Lock()
	defer mu.Unlock()
	for st.writing {
		if err := st.writable(); err != nil {
			return 0, err
		}
		st.changed.wait(mu, nil, st.writeDeadline)
	}
	st.writing = true
	defer func() {
		st.writing = false
		st.changed.broadcast()
	}()
	for {
		if err := st.writable(); err != nil {
			return n, err
		}
		if room := st.session.memory.buffer() - st.out.buf.Len(); room > 0 {
			some := p[n:min(len(p), n+room)]
			st.out.buf.Write(some)
			n += len(some)
			st.peer.changed.broadcast()
		}
		if n == len(p) {
			return n, nil
		}
		st.changed.wait(mu, nil, st.writeDeadline)
	}
}

func (st *memoryStream) writable() error {
	if err := st.ended(); err != nil {
		return err
	}
	switch {
	case st.out.fin:
		return st.opError("write", net.ErrClosed)
	case st.out.refused:
		return &transport.CloseError{Origin: transport.Peer, Reset: true}
	case passed(st.writeDeadline):
		return st.opError("write", os.ErrDeadlineExceeded)
	}
	return nil
}

func (st *memoryStream) CloseWrite() error {
	st.session.mu.Lock()
	defer st.session.mu.Unlock()
	if err := st.ended(); err != nil {
		return err
	}
	st.out.fin = true
	st.settle()
	return nil
}

func (st *memoryStream) Close() error {
	st.session.mu.Lock()
	defer st.session.mu.Unlock()
	if st.ended() == nil {
		st.finish(&transport.CloseError{Origin: transport.Local})
	}
	return nil
}

func (st *memoryStream) Reset(code uint64) {
	st.session.mu.Lock()
	defer st.session.mu.Unlock()
	if st.ended() != nil {
		return
	}
	cause := transport.CloseError{Origin: transport.Local, Reset: true, Coded: true, Code: code}
	there := cause
	there.Origin = transport.Peer
	st.out.buf.Reset()
	st.finish(&cause)
	if st.peer.ended() == nil {
		st.peer.finish(&there)
	}
}

// finish ends this end of st in both directions.
func (st *memoryStream) finish(cause *transport.CloseError) {
	st.cause = cause
	st.out.fin = true
	st.in.refused = true
	st.in.buf.Reset()
	st.settle()
}

// settle tells both ends of a change, and gives the slot back when neither
// direction has anything left to carry.
func (st *memoryStream) settle() {
	st.changed.broadcast()
	st.peer.changed.broadcast()
	if st.in.done() && st.out.done() {
		st.session.release(st)
		st.peer.session.release(st.peer)
	}
}

func (st *memoryStream) LocalAddr() net.Addr  { return st.session.local }
func (st *memoryStream) RemoteAddr() net.Addr { return st.session.remote }

func (st *memoryStream) SetDeadline(t time.Time) error      { return st.setDeadlines(t, true, true) }
func (st *memoryStream) SetReadDeadline(t time.Time) error  { return st.setDeadlines(t, true, false) }
func (st *memoryStream) SetWriteDeadline(t time.Time) error { return st.setDeadlines(t, false, true) }

func (st *memoryStream) setDeadlines(t time.Time, read, write bool) error {
	st.session.mu.Lock()
	defer st.session.mu.Unlock()
	if read {
		st.readDeadline = t
	}
	if write {
		st.writeDeadline = t
	}
	st.changed.broadcast()
	return st.ended()
}

func (st *memoryStream) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: memoryNetwork, Source: st.session.local, Addr: st.session.remote, Err: err}
}

func passed(deadline time.Time) bool {
	return !deadline.IsZero() && !time.Now().Before(deadline)
}
