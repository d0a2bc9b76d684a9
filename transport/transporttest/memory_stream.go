package transporttest

import (
	"bytes"
	"io"
	"net"
	"os"
	"time"

	"github.com/livenet/livenet/transport"
)

// A half is one direction of a stream.
type half struct {
	buf     bytes.Buffer
	fin     bool // the writer has ended: EOF follows buf
	drained bool // the reader has read EOF
	refused bool // the reader has closed
}

func (h *half) done() bool { return h.refused || h.fin && h.drained }

// A memoryStream is one end of a stream: its peer's out is its own in.
type memoryStream struct {
	session *memorySession
	peer    *memoryStream
	in, out *half
	opener  bool

	cause                       *transport.CloseError // how this end of it ended
	writing                     bool                  // a Write is under way: another one waits
	readDeadline, writeDeadline time.Time
	changed                     signal // all of the above
}

// ended returns the error of all calls after the end of st, or nil.
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
	cause := transport.CloseError{Origin: transport.Local, Reset: true, HasCode: true, Code: code}
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

// settle notifies both ends of a change, and releases the stream when both directions have
// ended.
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
