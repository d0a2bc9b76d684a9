package transport

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Single makes a session of a connection that is one stream: OpenStream or
// AcceptStream, whichever is called first, gets it. Closing the stream ends the
// session, and closing the session closes the stream, after which the peer
// reads EOF; the code and the words are kept for this end only. Whoever closes
// either has released everything.
//
// The peer's end of writing is io.EOF from Read, as ever, and does not end the
// session. An error that does (a reset, a lost peer) becomes the cause of its
// context; the connection stays open until it is closed, because what arrived
// before can still be read after a Write has failed. If conn returns a
// [*CloseError], that is the cause; it is how a conn tells more than an errno
// does.
//
// If conn is [Pollable], so is the stream: see [As].
//
// CloseWrite needs a conn that has CloseWrite, and fails with
// errors.ErrUnsupported otherwise. Reset sends a TCP RST if conn, or what its
// method NetConn leads to, has SetLinger, as a *net.TCPConn has; otherwise it is a Close.
//
// The stream has a method NetConn that returns conn, as that of crypto/tls has.
func Single(conn net.Conn) Session {
	return &single{conn: conn}
}

// A single is a session and, as a singleStream, the stream in it. There may be
// a great many that are idle, so it holds no more than it has to.
type single struct {
	conn  net.Conn
	cause atomic.Pointer[CloseError] // how the session ended
	ctx   atomic.Pointer[singleContext]
	taken atomic.Bool // the stream was given out
	fin   atomic.Bool // CloseWrite was called
	once  sync.Once   // closes conn
}

// A singleContext is a session's context, made when someone asks for it.
type singleContext struct {
	context.Context
	cancel context.CancelCauseFunc
}

func (s *single) Context() context.Context {
	if c := s.ctx.Load(); c != nil {
		return c.Context
	}
	c := new(singleContext)
	c.Context, c.cancel = context.WithCancelCause(context.Background())
	if !s.ctx.CompareAndSwap(nil, c) {
		return s.ctx.Load().Context
	}
	// Whoever ends the session looks for a context after it has stored the
	// cause, and this looks for the cause after it has stored the context.
	if e := s.cause.Load(); e != nil {
		c.cancel(e)
	}
	return c.Context
}

// cancel records how the session ended, unless it has ended before, and
// returns how it did.
func (s *single) cancel(cause *CloseError) *CloseError {
	if !s.cause.CompareAndSwap(nil, cause) {
		return s.cause.Load()
	}
	if c := s.ctx.Load(); c != nil {
		c.cancel(cause)
	}
	return cause
}

func (s *single) OpenStream(ctx context.Context) (Stream, error) {
	if e := s.cause.Load(); e != nil {
		return nil, e
	}
	if s.taken.CompareAndSwap(false, true) {
		return (*singleStream)(s), nil
	}
	return nil, ErrSingleStream
}

func (s *single) AcceptStream(ctx context.Context) (Stream, error) {
	if st, err := s.OpenStream(ctx); err != ErrSingleStream {
		return st, err
	}
	session := s.Context()
	select {
	case <-session.Done():
		return nil, context.Cause(session)
	case <-ctx.Done():
		return nil, cmp.Or(context.Cause(session), ctx.Err())
	}
}

func (s *single) Multiplexed() bool    { return false }
func (s *single) LocalAddr() net.Addr  { return s.conn.LocalAddr() }
func (s *single) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

func (s *single) Close(code uint64, text string) error {
	return s.end(&CloseError{Origin: Local, Coded: true, Code: code, Text: text}, s.hangUp)
}

// end records the cause before it lets go of the connection, so that the calls
// blocked in it find the cause when they return.
func (s *single) end(cause *CloseError, letGo func() error) (err error) {
	s.cancel(cause)
	s.once.Do(func() { err = letGo() })
	if errors.Is(err, net.ErrClosed) {
		return nil // someone closed conn itself
	}
	return err
}

const (
	maxUnread  = 256 << 10              // bytes that hangUp throws away
	unreadTime = 100 * time.Millisecond // and how long it may take, if a kernel makes it wait
)

// hangUp closes the connection so that the peer sees EOF after what was
// written. A kernel that is asked to close a socket with unread bytes in it
// sends a reset instead, and forgets what it had still to send. So the input is
// shut down first, after which reading does not block, and what is there is
// thrown away. (Windows answers the shutting down itself with a reset.) What
// comes between that and closing makes the kernel send a reset all the same: so
// the FIN goes first, behind what was written, and a reset can only follow it.
func (s *single) hangUp() error {
	r, ok := s.conn.(interface{ CloseRead() error })
	if ok && runtime.GOOS != "windows" && r.CloseRead() == nil {
		s.conn.SetReadDeadline(time.Now().Add(unreadTime))
		io.Copy(io.Discard, io.LimitReader(s.conn, maxUnread))
		if w, ok := s.conn.(interface{ CloseWrite() error }); ok {
			w.CloseWrite()
		}
	}
	return s.conn.Close()
}

// reset closes the connection so that the peer sees a reset, if there is a way.
func (s *single) reset() error {
	if tcp, ok := innermost(s.conn).(lingerer); ok {
		tcp.SetLinger(0)
		// Before the layers above it, which might have words of farewell.
		tcp.Close()
	}
	return s.conn.Close()
}

// A lingerer is a *net.TCPConn, or what stands for one.
type lingerer interface {
	SetLinger(sec int) error
	Close() error
}

func innermost(c net.Conn) net.Conn {
	for {
		outer, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = outer.NetConn()
	}
}

// readError is what the stream says of an error that conn returned, and ends
// the session if it is one that does.
func (s *single) readError(err error) error {
	switch cause := s.cause.Load(); {
	case cause != nil:
		return cause
	case err == io.EOF, isTimeout(err):
		return err
	}
	return s.fail(err)
}

func (s *single) writeError(err error) error {
	switch cause := s.cause.Load(); {
	case cause != nil:
		return cause
	case isTimeout(err):
		return err
	case s.fin.Load():
		// To the kernel writing after CloseWrite is the same as writing after a
		// reset. The session is all right.
		return s.opError("write", net.ErrClosed)
	}
	return s.fail(err)
}

func (s *single) fail(err error) error {
	return s.cancel(causeOf(err))
}

func (s *single) opError(op string, err error) error {
	local := s.conn.LocalAddr()
	return &net.OpError{Op: op, Net: local.Network(), Source: local, Addr: s.conn.RemoteAddr(), Err: err}
}

// A singleStream is the stream's view of a single.
type singleStream single

func (st *singleStream) NetConn() net.Conn { return st.conn }

func (st *singleStream) Read(p []byte) (int, error) {
	n, err := st.conn.Read(p)
	if err != nil {
		err = (*single)(st).readError(err)
	}
	return n, err
}

func (st *singleStream) Write(p []byte) (int, error) {
	n, err := st.conn.Write(p)
	if err != nil {
		err = (*single)(st).writeError(err)
	}
	return n, err
}

func (st *singleStream) CloseWrite() error {
	s := (*single)(st)
	c, ok := s.conn.(interface{ CloseWrite() error })
	if !ok {
		return s.opError("close", errors.ErrUnsupported)
	}
	again := s.fin.Swap(true)
	err := c.CloseWrite()
	switch cause := s.cause.Load(); {
	case err == nil:
		return nil
	case cause != nil:
		return cause
	case again && !isTimeout(err):
		return nil // the other direction has ended too, and that's all the kernel says
	}
	return err
}

func (st *singleStream) Close() error {
	s := (*single)(st)
	return s.end(&CloseError{Origin: Local}, s.hangUp)
}

func (st *singleStream) Reset(code uint64) {
	s := (*single)(st)
	s.end(&CloseError{Origin: Local, Reset: true, Coded: true, Code: code}, s.reset)
}

func (st *singleStream) LocalAddr() net.Addr                { return st.conn.LocalAddr() }
func (st *singleStream) RemoteAddr() net.Addr               { return st.conn.RemoteAddr() }
func (st *singleStream) SetDeadline(t time.Time) error      { return st.conn.SetDeadline(t) }
func (st *singleStream) SetReadDeadline(t time.Time) error  { return st.conn.SetReadDeadline(t) }
func (st *singleStream) SetWriteDeadline(t time.Time) error { return st.conn.SetWriteDeadline(t) }
