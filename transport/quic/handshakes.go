package quic

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/livenet/livenet/transport"
)

const (
	// maxUnverified is the default of MaxUnverified. With a round trip of 100 ms it
	// admits 2,500 new clients a second.
	maxUnverified = 256

	// refillTime is how long it takes until all slots of unverified handshakes that
	// failed are free again. It is quic-go's default handshake timeout.
	refillTime = 10 * time.Second

	// maxUnfinished bounds all handshakes under way, at about 25 KB each. Only clients
	// that have shown their address can reach this limit.
	maxUnfinished = 4096
)

var errBusy = errors.New("quic: too many handshakes under way")

// handshakes limits a listener's handshakes. A client's address may be spoofed, and each
// such packet costs the memory of a connection. So only a limited number of handshakes from
// unverified addresses may begin. After that clients get a Retry (RFC 9000, section 8.1.2):
// they have to show that they receive at their address. That costs them a round trip, and
// this end no memory.
type handshakes struct {
	slots  int                                // for unverified clients
	failed func(remote net.Addr, cause error) // called in a goroutine of its own

	mu         sync.Mutex
	free       float64 // free slots at the time at; they refill with time
	at         time.Time
	unfinished int
}

func newHandshakes(slots int, failed func(net.Addr, error)) *handshakes {
	if slots == 0 {
		slots = maxUnverified
	}
	slots = max(slots, 0)
	return &handshakes{slots: slots, failed: failed, free: float64(slots), at: time.Now()}
}

// requireRetry is quic-go's VerifySourceAddress: it is called before a handshake from an
// unverified address. It returns false, and takes a slot, if the handshake may begin
// without a Retry.
func (h *handshakes) requireRetry(net.Addr) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	passed := now.Sub(h.at).Seconds() / refillTime.Seconds()
	h.free, h.at = min(h.free+passed*float64(h.slots), float64(h.slots)), now
	if h.free < 1 {
		return true
	}
	h.free--
	return false
}

// A handshake is the state of one client's handshake. It is a value of the connection's
// context.
type handshake struct {
	all      *handshakes
	verified bool
	state    atomic.Int32
}

// States of a handshake. It leaves underWay once.
const (
	underWay int32 = iota
	succeeded
	failed
)

type handshakeKey struct{}

// begin is quic-go's ConnContext: it is called when a handshake begins. An error refuses
// the client.
func (h *handshakes) begin(ctx context.Context, client *quicgo.ClientInfo) (context.Context, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.unfinished >= maxUnfinished {
		return nil, errBusy
	}
	h.unfinished++
	hs := &handshake{all: h, verified: client.AddrVerified}
	remote := client.RemoteAddr
	context.AfterFunc(ctx, func() {
		cause := context.Cause(ctx)
		// An application can close only after the handshake.
		if _, done := errors.AsType[*quicgo.ApplicationError](cause); done {
			hs.end(succeeded)
		} else if hs.end(failed) {
			h.failed(remote, cause)
		}
	})
	return context.WithValue(ctx, handshakeKey{}, hs), nil
}

// complete marks conn's handshake as succeeded, and returns false if it was reported as
// failed before.
func complete(conn *quicgo.Conn) bool {
	hs := conn.Context().Value(handshakeKey{}).(*handshake)
	return hs.end(succeeded) || hs.state.Load() == succeeded
}

// end sets the final state, and reports whether this call was the first.
func (hs *handshake) end(state int32) bool {
	if !hs.state.CompareAndSwap(underWay, state) {
		return false
	}
	h := hs.all
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unfinished--
	if state == succeeded && !hs.verified {
		h.free = min(h.free+1, float64(h.slots))
	}
	return true
}

// A failedSession is accepted for a client whose handshake has failed, so that it is
// counted and logged like a failed TLS handshake over TCP. It has ended, and its context has
// the cause.
type failedSession struct {
	local, remote net.Addr
	ctx           context.Context
}

var _ transport.Session = (*failedSession)(nil)

func newFailedSession(local, remote net.Addr, cause error) *failedSession {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(&transport.CloseError{Origin: transport.Lost, Fault: faultIn(cause), Err: libraryError(cause)})
	return &failedSession{local, remote, ctx}
}

func (s *failedSession) OpenStream(context.Context) (transport.Stream, error) {
	return nil, context.Cause(s.ctx)
}

func (s *failedSession) AcceptStream(context.Context) (transport.Stream, error) {
	return nil, context.Cause(s.ctx)
}

func (s *failedSession) Multiplexed() bool          { return true }
func (s *failedSession) LocalAddr() net.Addr        { return s.local }
func (s *failedSession) RemoteAddr() net.Addr       { return s.remote }
func (s *failedSession) Context() context.Context   { return s.ctx }
func (s *failedSession) Close(uint64, string) error { return nil }
