package quic

import (
	"crypto/rand"
	"net"
	"sync"
	"time"

	quicgo "github.com/quic-go/quic-go"
)

// An endpoint is a UDP socket with quic-go's demultiplexer on it. Whoever uses
// it holds it: the listener, and every session. The last to let go closes it.
type endpoint struct {
	conn      *net.UDPConn
	socket    *socket // the same, for quic-go
	transport *quicgo.Transport
	closed    chan struct{} // the socket and its goroutines are gone

	mu      sync.Mutex
	holders int
	until   time.Time // the last closing period's end
}

// idLen is the length of the connection IDs by which this end is addressed.
// quic-go draws them at random and doesn't look whether one is in use: whose it was
// may not be heard any more. Of its usual 4 bytes two would soon be the same, among
// tens of thousands of connections.
const idLen = 7

// resetIDLen is the longest, for listeners that are to reset what an earlier one has
// left: quic-go answers no packet of up to 42 bytes with a reset, and with shorter IDs a
// heartbeat may be one.
const resetIDLen = 20

// newEndpoint returns an endpoint on conn that the caller holds.
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
		holders:   1,
	}
}

func (e *endpoint) hold() {
	e.mu.Lock()
	e.holders++
	e.mu.Unlock()
}

// release lets go. A session that this end closed asks for a closing period:
// RFC 9000, section 10.2.1, wants the CONNECTION_CLOSE repeated for a while if
// packets still come in, because a peer that never got it would wait for its
// idle timeout; quic-go does so as long as there is a socket to do it with.
func (e *endpoint) release(closing time.Duration) {
	e.mu.Lock()
	if closing > 0 {
		if until := time.Now().Add(closing); until.After(e.until) {
			e.until = until
		}
	}
	e.holders--
	last, wait := e.holders == 0, time.Until(e.until)
	e.mu.Unlock()
	switch {
	case !last:
	case wait > 0:
		time.AfterFunc(wait, e.close)
	default:
		e.close()
	}
}

// close stops quic-go before its socket goes: Transport.Close waits for the
// goroutine that reads, and does not close a socket that it was given.
func (e *endpoint) close() {
	e.transport.Close()
	e.conn.Close()
	close(e.closed)
}
