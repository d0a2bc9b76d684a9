package liveness

import (
	"io"
	"net"

	"github.com/livenet/livenet/transport"
)

// firstRead is the size of the buffer that waits for input on a stream that is no
// [transport.Waiter].
const firstRead = 512

// WriteTo copies the peer's data to w. It returns nil when the peer has ended its data, and
// otherwise the error of reading or writing. While it waits it holds no buffer, or 512 bytes on
// some transports. Between two plain TCP connections on Linux it uses splice. Spliced bytes
// renew the lease and are counted as usual, also for w if that is a Conn.
func (c *Conn) WriteTo(w io.Writer) (total int64, err error) {
	p := &copier{conn: c, w: w}
	if tcp := c.plain(); tcp != nil {
		p.lazy = newLazyReader(tcp)
	}
	p.waiter, _ = transport.As[transport.Waiter](c.stream)
	p.poll, _ = transport.As[transport.Pollable](c.stream)
	if p.waiter == nil && p.lazy == nil {
		p.small = make([]byte, firstRead)
	}
	p.splice = c.splicer(w)
	for err == nil {
		var n int64
		n, err = p.next()
		total += n
	}
	if err == io.EOF {
		err = nil
	}
	return total, err
}

// mostSent is how much ReadFrom sends at once: the bytes are counted in between.
const mostSent = 1 << 20

// ReadFrom writes what r reads until its end, and returns how many bytes that were. On a
// plain TCP connection the kernel moves the bytes where it can, by sendfile or splice; they
// are counted all the same.
func (c *Conn) ReadFrom(r io.Reader) (total int64, err error) {
	tcp := c.plain()
	if tcp == nil || c.pacer() != nil {
		return io.Copy(struct{ io.Writer }{c}, r)
	}
	for c.End() == nil {
		n, err := tcp.ReadFrom(&io.LimitedReader{R: r, N: mostSent})
		c.state.addOut(int(n))
		if total += n; c.End() == nil && (err != nil || n < mostSent) {
			return total, err
		}
	}
	return total, c.End()
}

// A copier copies a connection's data to w.
type copier struct {
	conn   *Conn
	w      io.Writer
	lazy   *lazyReader        // nil: the connection isn't plain TCP
	waiter transport.Waiter   // nil: the stream is none
	poll   transport.Pollable // nil: the stream is none
	small  []byte             // used without a waiter
	splice *splicer           // nil: splice is not possible
	filled bool               // the last read filled its buffer
}

// next waits for input and copies it. It returns 0 if the input has no data for w.
func (p *copier) next() (written int64, err error) {
	c := p.conn
	if p.lazy != nil {
		return p.nextPlain()
	}
	if p.waiter != nil && !c.ready() {
		c.bits.Or(waitingToRead)
		p.waiter.WaitRead() // Read returns its error, too
		c.bits.And(^uint32(waitingToRead))
	}
	n := 0
	if p.waiter == nil && !p.filled {
		if n, err = c.readOnce(p.small, c.stream.Read); n < len(p.small) || err != nil {
			return p.write(p.small[:n], err)
		}
	}
	pooled := dataBuffers.Get().(*[]byte)
	defer dataBuffers.Put(pooled)
	b := *pooled
	switch copy(b, p.small[:n]); {
	case n == 0:
		n, err = c.readOnce(b, c.stream.Read)
		p.filled = n == len(b)
	case p.poll != nil:
		var more int
		if more, err = c.readOnce(b[n:], p.poll.TryRead); err == transport.ErrWouldBlock {
			err = nil
		}
		n += more
		p.filled = n == len(b)
	default:
		p.filled = true
	}
	return p.write(b[:n], err)
}

// nextPlain is next for a plain TCP connection.
func (p *copier) nextPlain() (int64, error) {
	if p.filled && p.splice != nil {
		if n := p.splice.queued(); n >= chunk {
			return p.splice.copy(n)
		}
	}
	b, n, err := p.conn.readLazily(p.lazy)
	if b == nil {
		return 0, err
	}
	defer dataBuffers.Put(b)
	p.filled = n == len(*b)
	return p.write((*b)[:n], err)
}

// readLazily is Read with r.
func (c *Conn) readLazily(r *lazyReader) (b *[]byte, n int, err error) {
	c.readLock.Lock()
	defer c.readLock.Unlock()
	if e := c.End(); e != nil {
		return nil, 0, e
	}
	b, n, err = r.read()
	n, err = c.afterRead(n, chunk, err)
	return b, n, err
}

// write writes b to w. err is the error of the read that filled b.
func (p *copier) write(b []byte, err error) (int64, error) {
	if len(b) == 0 {
		return 0, err
	}
	n, failed := p.w.Write(b)
	switch {
	case failed != nil:
		err = failed
	case n < len(b):
		err = io.ErrShortWrite
	}
	return int64(n), err
}

// A splicer copies between two plain TCP connections by splice(2).
type splicer struct {
	from    *Conn
	in, out *net.TCPConn
	to      *Conn // out's; nil: none
	socket  *tcpSocket
}

// splicer returns nil if c or w is not a plain TCP connection.
func (c *Conn) splicer(w io.Writer) *splicer {
	s := &splicer{from: c, in: c.plain(), socket: tcpSocketOf(c.stream)}
	switch w := w.(type) {
	case *Conn:
		s.to, s.out = w, w.plain()
	case *net.TCPConn:
		s.out = w
	}
	if s.in == nil || s.out == nil {
		return nil
	}
	return s
}

// plain returns the TCP connection of c; nil if c has a codec or TLS, or is not TCP.
func (c *Conn) plain() *net.TCPConn {
	if c.framed != nil {
		return nil
	}
	if tcp, ok := c.stream.(*net.TCPConn); ok {
		return tcp
	}
	if p, ok := transport.As[transport.Plain](c.stream); ok {
		return p.TCPConn()
	}
	return nil
}

// queued returns how many bytes can be read without waiting.
func (s *splicer) queued() int { return s.socket.queued() }

// copy copies n bytes that are in the receive buffer, so that an error is one of writing,
// unless this connection has ended meanwhile.
func (s *splicer) copy(n int) (int64, error) {
	if e := s.from.End(); e != nil {
		return 0, e
	}
	moved, err := s.out.ReadFrom(&io.LimitedReader{R: s.in, N: int64(n)})
	s.from.afterRead(int(moved), n, nil)
	if s.to != nil {
		s.to.state.addOut(int(moved))
	}
	e := s.from.End()
	switch {
	case err == nil:
	case e != nil:
		err = e
	case s.to != nil:
		err = s.to.writeError(err)
	}
	return moved, err
}
