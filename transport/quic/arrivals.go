package quic

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	quicgo "github.com/quic-go/quic-go"
)

// start is the moment from which arrivals are counted.
var start = time.Now()

// Arrivals are when the datagrams of an endpoint came in, as the kernel saw it,
// and of whom they are. Quic-go alone knows which connection a datagram is for.
// So a peer is known by the address at which it began, and by the connection IDs
// that were first seen from there: a client may be moved to another address
// without its knowledge (RFC 9000, section 9.5). What comes with a new ID from an
// address without a connection may be of any client that has moved on purpose.
//
// What can't be told: a client that comes with a new ID to where another
// connection is known, its own or not, is taken for that one until quic-go has
// validated the path.
type arrivals struct {
	// unread reports whether there is more to read. Nil: nobody takes note of
	// arrivals.
	unread func() bool

	// mu is held from when the kernel gives away datagrams until they are noted.
	mu     sync.Mutex
	peers  map[netip.AddrPort]*peer
	ids    map[connID]*peer
	anyone time.Duration // when something last came that may be of anyone; since start, 0: nothing has
	all    time.Duration // all that came by then has been read; since start
}

// A peer is an address at which there are connections.
type peer struct {
	addr  netip.AddrPort
	conns int
	last  time.Duration // when something last came from it; since start, 0: nothing has
	ids   []connID      // the latest ones
}

// mostIDs are how many connection IDs of a peer are remembered. A client has a few
// in use, and another one after some thousand packets.
const mostIDs = 8

// idLen is the length of the connection IDs by which this end is addressed.
// quic-go draws them at random and doesn't look whether one is in use: whose it was
// may not be heard any more. Of its usual 4 bytes two would soon be the same, among
// tens of thousands of connections. They must be shorter than 8, see idOf.
const idLen = 7

// lateness is from when on a datagram has lain unread. With less, it may as well
// have been read in time.
const lateness = 5 * time.Millisecond

type connID [idLen]byte

// idOf is by which ID this end is addressed in a datagram; false: by one that the
// peer made up, which is longer (RFC 9000, section 7.2), to begin a connection.
func idOf(datagram []byte) (id connID, ok bool) {
	const long = 0x80
	switch {
	case len(datagram) < 1+1+4+idLen: // nothing that is so short is a packet
		return id, false
	case datagram[0]&long == 0:
		return connID(datagram[1:]), true
	case datagram[5] == idLen: // after the version
		return connID(datagram[6:]), true
	}
	return id, false
}

// came takes note of a datagram. The lock is held.
func (a *arrivals) came(from netip.AddrPort, datagram []byte, at time.Duration) {
	id, ok := idOf(datagram)
	p, known := a.peers[from], a.ids[id]
	switch {
	case p == nil && known == nil && ok:
		a.anyone = max(a.anyone, at)
	case p != nil && known == nil && ok:
		a.bind(id, p)
	}
	if p != nil {
		p.last = max(p.last, at)
	}
	if known != nil && ok {
		known.last = max(known.last, at)
	}
}

func (a *arrivals) bind(id connID, p *peer) {
	if len(p.ids) == mostIDs {
		delete(a.ids, p.ids[0])
		p.ids = slices.Delete(p.ids, 0, 1)
	}
	p.ids = append(p.ids, id)
	a.ids[id] = p
}

// last is when a datagram of a connection last came in, at the latest: of one of
// p's, which is at addr now. As long as more is to be read than what came just
// now, it isn't known: what has been read is as old as the rest is young.
func (a *arrivals) last(p *peer, addr netip.AddrPort) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.unread == nil || p == nil || addr != p.addr { // where there may be another connection's peer
		return time.Time{}
	}
	last := max(p.last, a.anyone)
	if last == 0 || time.Since(start)-a.all > lateness && a.unread() {
		return time.Time{}
	}
	return start.Add(last)
}

// connContext is told of each connection that a client begins, before it is
// answered.
func (a *arrivals) connContext(ctx context.Context, info *quicgo.ClientInfo) (context.Context, error) {
	p := a.enter(addrPort(info.RemoteAddr))
	context.AfterFunc(ctx, func() { a.leave(p) })
	return context.WithValue(ctx, peerKey{}, p), nil
}

func (a *arrivals) enter(addr netip.AddrPort) *peer {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.peers[addr]
	if p == nil {
		if a.peers == nil {
			a.peers, a.ids = make(map[netip.AddrPort]*peer), make(map[connID]*peer)
		}
		p = &peer{addr: addr}
		a.peers[addr] = p
	}
	p.conns++
	return p
}

// leave is for a connection that has ended. Its peer is known a while longer: what
// it had under way is not anyone's.
func (a *arrivals) leave(p *peer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p.conns--; p.conns == 0 {
		time.AfterFunc(underWay, func() { a.forget(p) })
	}
}

// underWay is for how long a peer may send that does not know of the end yet.
const underWay = time.Second / 2

// forget may be called more than once.
func (a *arrivals) forget(p *peer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p.conns > 0 || a.peers[p.addr] != p {
		return
	}
	delete(a.peers, p.addr)
	for _, id := range p.ids {
		delete(a.ids, id)
	}
	if len(a.peers) == 0 {
		a.peers, a.ids = nil, nil // maps do not shrink
	}
}

// peerKey is the key under which the context of a connection that was accepted
// has its peer.
type peerKey struct{}

// peerOf is the peer of a connection that was accepted; nil: it was dialled.
func peerOf(conn *quicgo.Conn) *peer {
	p, _ := conn.Context().Value(peerKey{}).(*peer)
	return p
}

func addrPort(addr net.Addr) netip.AddrPort {
	if udp, ok := addr.(*net.UDPAddr); ok {
		return udp.AddrPort()
	}
	return netip.AddrPort{}
}
