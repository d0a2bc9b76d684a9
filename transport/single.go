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

// Single returns a session whose only stream is conn. The first call of OpenStream or
// AcceptStream returns that stream. Closing the stream closes the session and the other
// way round, and either closes conn: the peer reads EOF, and does not get the code and
// the text.
//
// When the peer closes its direction, Read returns io.EOF and the session goes on. An
// error that ends the session (a reset, a lost connection) becomes the cause of its
// context. If conn returns a [*CloseError], that is the cause; otherwise one is made of
// the error. Conn stays open until it is closed here, because what arrived earlier can
// still be read after a Write has failed.
//
// If conn is [Pollable], so is the stream: see [As].
//
// CloseWrite calls conn.CloseWrite, and returns errors.ErrUnsupported if conn has none.
// Reset sends a TCP RST if conn, or the connection that its NetConn methods lead to, has
// SetLinger, as a *net.TCPConn has; otherwise Reset is Close.
//
// The stream has a method NetConn that returns conn, like a *tls.Conn.
func Single(conn net.Conn) Session {
	return &single{conn: conn}
}

// A single is a session and, converted to a singleStream, its stream. It is small, because
// a server may hold very many.
type single struct {
	conn  net.Conn
	cause atomic.Pointer[CloseError] // how the session ended
	ctx   atomic.Pointer[singleContext]
	taken atomic.Bool // the stream was opened or accepted
	fin   atomic.Bool // CloseWrite was called
	once  sync.Once   // closes conn
}

// A singleContext is a session's context. It is made by the first call of Context.
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
	// cancel stores the cause and then loads the context. This stored the context and
	// then loads the cause. So at least one of the two cancels it.
	if e := s.cause.Load(); e != nil {
		c.cancel(e)
	}
	return c.Context
}

// cancel stores cause and cancels the context, unless the session has ended before. It
// returns the cause that was stored first.
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
	return s.end(&CloseError{Origin: Local, HasCode: true, Code: code, Text: text}, s.close)
}

// end stores the cause before it calls closeConn, so that calls blocked in conn return
// that cause.
func (s *single) end(cause *CloseError, closeConn func() error) (err error) {
	s.cancel(cause)
	s.once.Do(func() { err = closeConn() })
	if errors.Is(err, net.ErrClosed) {
		return nil // conn itself was closed by the application
	}
	return err
}

const (
	maxDiscard     = 256 << 10              // most bytes of unread input that close discards
	discardTimeout = 100 * time.Millisecond // longest time for that, if reading blocks
)

// close closes conn so that the peer reads all that was written, and then EOF. If unread
// input lies in a socket when it is closed, the kernel sends a reset and drops its send
// buffer. So close shuts the input down first, after which reading does not block, and
// discards what has arrived. (On Windows the shutdown itself causes a reset.) Input that
// arrives after that still causes a reset. So the FIN is sent first: the reset can only
// follow it.
func (s *single) close() error {
	r, ok := s.conn.(interface{ CloseRead() error })
	if ok && runtime.GOOS != "windows" && r.CloseRead() == nil {
		s.conn.SetReadDeadline(time.Now().Add(discardTimeout))
		io.Copy(io.Discard, io.LimitReader(s.conn, maxDiscard))
		if w, ok := s.conn.(interface{ CloseWrite() error }); ok {
			w.CloseWrite()
		}
	}
	return s.conn.Close()
}

// reset closes conn with a TCP RST if it can, and otherwise with a FIN.
func (s *single) reset() error {
	if tcp, ok := innermost(s.conn).(lingerer); ok {
		tcp.SetLinger(0)
		// The socket first: a layer above it, such as TLS, would send a close alert.
		tcp.Close()
	}
	return s.conn.Close()
}

// A lingerer is a *net.TCPConn or has the same methods.
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

// readError returns the stream's error for an error of conn.Read, and ends the session
// unless it is EOF or a timeout.
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
		// The kernel's error for a Write after CloseWrite is that for a Write after a
		// reset. The session goes on.
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

// A singleStream is a single as a Stream.
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
		return nil // both directions have ended, so the kernel says "not connected"
	}
	return err
}

func (st *singleStream) Close() error {
	s := (*single)(st)
	return s.end(&CloseError{Origin: Local}, s.close)
}

func (st *singleStream) Reset(code uint64) {
	s := (*single)(st)
	s.end(&CloseError{Origin: Local, Reset: true, HasCode: true, Code: code}, s.reset)
}

func (st *singleStream) LocalAddr() net.Addr                { return st.conn.LocalAddr() }
func (st *singleStream) RemoteAddr() net.Addr               { return st.conn.RemoteAddr() }
func (st *singleStream) SetDeadline(t time.Time) error      { return st.conn.SetDeadline(t) }
func (st *singleStream) SetReadDeadline(t time.Time) error  { return st.conn.SetReadDeadline(t) }
func (st *singleStream) SetWriteDeadline(t time.Time) error { return st.conn.SetWriteDeadline(t) }
