package liveness

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/transport"
)

// framed is what a Conn holds beyond its stream if it has a codec.
type framed struct {
	coder codec.Coder
	hello atomic.Pointer[codec.Hello] // the peer's
	retry atomic.Int64                // when the peer, which is going away, wants to be dialled again
	in    reader
	out   writer
}

func newFramed(c *Conn, coder codec.Coder, maxBeats int32) *framed {
	f := &framed{coder: coder}
	f.in = reader{conn: c, framed: f, beatLimit: rateLimit{rate: maxBeats}}
	f.out = writer{conn: c, framed: f}
	return f
}

// peerRetryAfter is how long the peer, which is going away, asked to wait before it is
// dialled again; 0: it did not.
func (c *Conn) peerRetryAfter() time.Duration {
	if c.framed == nil {
		return 0
	}
	return time.Duration(c.framed.retry.Load())
}

// dialed is what a Conn holds beyond its stream if this end dialled it.
type dialed struct {
	sess          transport.Session // ends with the connection
	beat          *beater           // nil: it does not beat
	defaultPolicy bool              // the policy is what follows from the beats, which are to be answered
	exchanging    bool              // Hellos are being exchanged: the state has not begun; set by Dial only

	// noPing is until when, on the engine's clock, no Ping could be sent: within a line,
	// or after CloseWrite. 0: it could all the time.
	pingSince atomic.Int64

	sessionClosed latch // opened when the session is closed

	mu      sync.Mutex
	streams map[*Conn]struct{} // beside the one that is the Conn's
}

// addConn counts a stream among those of the session, and ends it if that is ending.
func (c *Conn) addConn(stream *Conn) {
	d := c.dialed
	d.mu.Lock()
	if d.streams == nil {
		d.streams = make(map[*Conn]struct{})
	}
	d.streams[stream] = struct{}{}
	d.mu.Unlock()
	if e := c.state.ended.Load(); e != nil {
		stream.state.end(e.ofStream())
	}
}

func (c *Conn) removeConn(stream *Conn) {
	c.dialed.mu.Lock()
	defer c.dialed.mu.Unlock()
	delete(c.dialed.streams, stream)
}

// endStreams ends the other streams of a dialled session with it.
func (c *Conn) endStreams(e *ending) {
	if c.dialed == nil {
		return
	}
	c.dialed.mu.Lock()
	streams := slices.Collect(maps.Keys(c.dialed.streams))
	c.dialed.mu.Unlock()
	for _, s := range streams {
		s.state.end(e.ofStream())
	}
}

// cannotPing stands for now in noPing.
const cannotPing = int64(1<<63 - 1)

// pingPossible takes note of whether a Ping can be sent.
func (c *Conn) pingPossible(can bool) {
	switch {
	case c.dialed == nil:
	case !can:
		c.dialed.pingSince.Store(cannotPing)
	case c.dialed.pingSince.Load() == cannotPing:
		c.dialed.pingSince.Store(int64(c.state.cfg.engine().time()))
	}
}

// pingable returns how long a Ping has been possible again after a time in which
// none could be sent, or its answer not be heard since nobody reads; false: it was all the
// time, or it does not matter.
func (c *Conn) pingable() (since time.Duration, limited bool) {
	if c.dialed == nil {
		return 0, false
	}
	if c.mayHoldAnswer() && !c.isReading() {
		return 0, true
	}
	if !c.dialed.defaultPolicy {
		return 0, false
	}
	switch until := c.dialed.pingSince.Load(); until {
	case 0:
		return 0, false
	case cannotPing:
		return 0, true
	default:
		return c.state.cfg.engine().time() - time.Duration(until), true
	}
}

// mayHoldAnswer reports whether an answer may lie unread in a place that can't be asked.
func (c *Conn) mayHoldAnswer() bool {
	if c.multiplexed {
		return true
	}
	s := c.tcpSocket()
	_, known := s.info()
	return s != nil && !known
}

// exchangingHellos reports whether the connection is still being dialled.
func (c *Conn) exchangingHellos() bool { return c.dialed != nil && c.dialed.exchanging }

// sentBeat tells the beater that data, or a beat, has been sent.
func (c *Conn) sentBeat(beat bool) {
	if c.dialed != nil {
		c.dialed.beat.sent(beat)
	}
}
