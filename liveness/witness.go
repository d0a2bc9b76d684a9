package liveness

import (
	"context"
	"net"
	"syscall"
	"time"

	"github.com/livenet/livenet/codec"
)

// A witness asks the kernel about a TCP connection: when data last arrived,
// even if the program has not read it. The nil witness knows nothing.
type witness struct {
	raw    syscall.RawConn
	shared bool // the connection carries more than what is judged
	veiled bool // and the handshake of something beneath it
	asked  bool // the peer was dialled: what it says is mostly an answer
}

// testimony is what the kernel says.
type testimony struct {
	ago    time.Duration // since data last arrived, at most
	rtt    time.Duration
	unread bool // data has arrived that the program has not read
	any    bool // data has arrived at all: until then ago is the connection's age
}

// witnessOf finds the TCP connection beneath conn, through the NetConn methods
// of what wraps it.
func witnessOf(conn any) *witness {
	tcp, veiled := beneath(conn)
	if tcp == nil {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return &witness{raw: raw, veiled: veiled}
}

// A tcpConn is a *net.TCPConn, or what stands for one.
type tcpConn interface {
	syscall.Conn
	SetLinger(sec int) error
	Close() error
}

// beneath is the TCP connection that conn is, or wraps, and whether something that
// begins with a handshake lies between, as TLS does.
func beneath(conn any) (tcp tcpConn, veiled bool) {
	for {
		if _, ok := conn.(interface{ HandshakeContext(context.Context) error }); ok {
			veiled = true
		}
		switch c := conn.(type) {
		case tcpConn:
			return c, veiled
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil, veiled
		}
	}
}

// heard is how long ago the peer gave evidence of the kind asked for, if the
// kernel can know that; begun says that some has been read. It is sure if nothing
// but the peer can have kept it from being heard since: what lies unread may be
// more than evidence, or all that there was room for.
func (w *witness) heard(kind codec.Evidence, begun bool) (ago time.Duration, sure, ok bool) {
	t, ok := w.ask()
	if !ok || !t.any {
		return 0, false, false
	}
	// The kernel sees bytes, not messages, and on a shared connection not
	// whose. What has been read has been judged for what it was; what has not
	// been read is taken for the best that it may be.
	if (kind != codec.Bytes || w.shared || w.veiled && !begun) && !t.unread {
		return 0, false, false
	}
	return t.ago, !t.unread && !w.asked, true
}

// arrived is how long ago data last arrived, whatever it was. Of a shared
// connection it isn't told, since nobody knows whose it was.
func (w *witness) arrived() (ago time.Duration, ok bool) {
	if w == nil || w.shared {
		return 0, false
	}
	t, ok := w.ask()
	return t.ago, ok && t.any
}

func (w *witness) rtt() (time.Duration, bool) {
	t, ok := w.ask()
	return t.rtt, ok && t.rtt > 0
}
