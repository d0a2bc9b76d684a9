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
	// maxUnverified is for a Transport that leaves MaxUnverified zero: at a round
	// trip of 100 ms enough for 2,500 new clients a second.
	maxUnverified = 256

	// refillTime is how long the places of unverified handshakes that all failed
	// take to be free again. It is quic-go's longest handshake by default.
	refillTime = 10 * time.Second

	// maxUnfinished bounds all handshakes under way, at some 25 KB each. Only
	// clients that do receive at their addresses get that far.
	maxUnfinished = 4096
)

var errBusy = errors.New("quic: too many handshakes under way")

// Handshakes are a listener's that are under way. An address that is not verified
// may be anybody's: whoever sends from it may never have to answer, and each
// packet of his costs a connection. So only so many such handshakes may begin;
// then clients are asked to show that they receive at their address (Retry, RFC
// 9000, section 8.1.2), which costs them a round trip and us nothing.
type handshakes struct {
	places int                                // of unverified ones
	failed func(remote net.Addr, cause error) // called in a goroutine of its own

	mu         sync.Mutex
	free       float64   // places, at a time
	at         time.Time // which was this
	unfinished int
}

func newHandshakes(places int, failed func(net.Addr, error)) *handshakes {
	if places == 0 {
		places = maxUnverified
	}
	places = max(places, 0)
	return &handshakes{places: places, failed: failed, free: float64(places), at: time.Now()}
}

// mustProve is quic-go's VerifySourceAddress. It is asked when a handshake is
// about to begin at an address that is not verified, and takes a place for it.
func (h *handshakes) mustProve(net.Addr) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	passed := now.Sub(h.at).Seconds() / refillTime.Seconds()
	h.free, h.at = min(h.free+passed*float64(h.places), float64(h.places)), now
	if h.free < 1 {
		return true
	}
	h.free--
	return false
}

// A handshake is one of a client's, and the connection's context has it.
type handshake struct {
	all      *handshakes
	verified bool
	state    atomic.Int32
}

// States of a handshake. The first of the last two to come stays.
const (
	underWay int32 = iota
	succeeded
	failed
)

type handshakeKey struct{}

// begin is quic-go's ConnContext. An error refuses the client.
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
		// The application's word comes after the handshake.
		if _, done := errors.AsType[*quicgo.ApplicationError](cause); done {
			hs.end(succeeded)
		} else if hs.end(failed) {
			h.failed(remote, cause)
		}
	})
	return context.WithValue(ctx, handshakeKey{}, hs), nil
}

// complete reports whether conn's handshake has succeeded, for all that was said
// of it until now.
func complete(conn *quicgo.Conn) bool {
	hs := conn.Context().Value(handshakeKey{}).(*handshake)
	return hs.end(succeeded) || hs.state.Load() == succeeded
}

// end reports whether that is news.
func (hs *handshake) end(state int32) bool {
	if !hs.state.CompareAndSwap(underWay, state) {
		return false
	}
	h := hs.all
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unfinished--
	if state == succeeded && !hs.verified {
		h.free = min(h.free+1, float64(h.places))
	}
	return true
}

// A failed session is what there is to accept of a client whose handshake has
// failed, so that it is counted and told of like one over TLS and TCP: it has
// ended, and its context says why.
type failedSession struct {
	local, remote net.Addr
	ctx           context.Context
}

var _ transport.Session = (*failedSession)(nil)

func newFailedSession(local, remote net.Addr, cause error) *failedSession {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(&transport.CloseError{Origin: transport.Lost, Fault: faultIn(cause), Err: beneath(cause)})
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
