package quic

import (
	"crypto/rand"
	"net"
	"sync"
	"time"

	quicgo "github.com/quic-go/quic-go"
)

// An endpoint is a UDP socket with a quicgo.Transport on it. The listener and each session
// hold a reference. Releasing the last one closes it.
type endpoint struct {
	conn      *net.UDPConn
	socket    *socket // the same, for quic-go
	transport *quicgo.Transport
	closed    chan struct{} // closed when the socket and its goroutines have ended

	mu    sync.Mutex
	refs  int
	until time.Time // when the last closing period ends
}

// idLen is the length of this end's connection IDs. quic-go chooses them at random and
// doesn't check whether one is in use, which would cut off the connection that has it. With
// its default of 4 bytes that becomes likely at tens of thousands of connections.
const idLen = 7

// resetIDLen is the longest ID, for listeners with a stateless reset key: quic-go sends no
// reset in answer to a packet of up to 42 bytes, and with shorter IDs a heartbeat may be
// that short.
const resetIDLen = 20

// newEndpoint returns an endpoint on conn with one reference, the caller's.
func newEndpoint(conn *net.UDPConn, key *quicgo.StatelessResetKey) *endpoint {
	n := idLen
	if key == nil {
		key = new(quicgo.StatelessResetKey)
		rand.Read(key[:])
	} else {
		n = resetIDLen
	}
	s := &socket{udpConn: conn}
	return &endpoint{
		conn:      conn,
		socket:    s,
		transport: &quicgo.Transport{Conn: s, ConnectionIDLength: n, StatelessResetKey: key},
		closed:    make(chan struct{}),
		refs:      1,
	}
}

func (e *endpoint) acquire() {
	e.mu.Lock()
	e.refs++
	e.mu.Unlock()
}

// release drops a reference. The socket stays open for the closing period of a session
// that this end closed: if the peer still sends, CONNECTION_CLOSE was lost and is repeated
// (RFC 9000, section 10.2.1). quic-go does that while the socket is open.
func (e *endpoint) release(closing time.Duration) {
	e.mu.Lock()
	if closing > 0 {
		if until := time.Now().Add(closing); until.After(e.until) {
			e.until = until
		}
	}
	e.refs--
	last, wait := e.refs == 0, time.Until(e.until)
	e.mu.Unlock()
	switch {
	case !last:
	case wait > 0:
		time.AfterFunc(wait, e.close)
	default:
		e.close()
	}
}

// close stops quic-go before it closes the socket: Transport.Close waits for the goroutine
// that reads, and does not close the socket itself.
func (e *endpoint) close() {
	e.transport.Close()
	e.conn.Close()
	close(e.closed)
}
