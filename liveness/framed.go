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

// framed is the part of a Conn that has a codec.
type framed struct {
	coder codec.Coder
	hello atomic.Pointer[codec.Hello] // the peer's; nil: not come yet
	retry atomic.Int64                // the RetryAfter of the peer's GoAway
	in    reader
	out   writer
}

func newFramed(c *Conn, coder codec.Coder, maxBeats int32) *framed {
	f := &framed{coder: coder}
	f.in = reader{conn: c, framed: f, beatLimit: rateLimit{rate: maxBeats}}
	f.out = writer{conn: c, framed: f}
	return f
}

// peerRetryAfter returns how long to wait before dialling again, as the peer's GoAway says;
// 0: it says nothing.
func (c *Conn) peerRetryAfter() time.Duration {
	if c.framed == nil {
		return 0
	}
	return time.Duration(c.framed.retry.Load())
}

// dialed is the part of a Conn that this end dialled.
type dialed struct {
	sess          transport.Session // ends with the connection
	beat          *beater           // nil: no beats
	defaultPolicy bool              // the policy follows from the beats and relies on their answers
	exchanging    bool              // Dial is waiting for the server's Hello; the state has not begun

	// pingSince is when a Ping became possible again, on the engine's clock, after a time in
	// which none could be sent: mid-line, or after CloseWrite. 0: it always was possible.
	pingSince atomic.Int64

	sessionClosed latch // opened when the session is closed

	mu      sync.Mutex
	streams map[*Conn]struct{} // the session's, without the Conn's own
}

// addConn adds a stream to the session, and ends it if the session has ended.
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

// endStreams ends the other streams of a dialled session.
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

// cannotPing is the value of pingSince while no Ping can be sent.
const cannotPing = int64(1<<63 - 1)

// pingPossible records whether a Ping can be sent now.
func (c *Conn) pingPossible(can bool) {
	switch {
	case c.dialed == nil:
	case !can:
		c.dialed.pingSince.Store(cannotPing)
	case c.dialed.pingSince.Load() == cannotPing:
		c.dialed.pingSince.Store(int64(c.state.cfg.engine().time()))
	}
}

// pingable returns how long a ping has been possible again, after a period in which none
// could be sent, or in which no Read was pending that would have seen the answer. It returns
// false if there was no such period, or if the policy does not rely on pings.
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

// mayHoldAnswer reports whether a Pong may lie unread where it can't be queried.
func (c *Conn) mayHoldAnswer() bool {
	if c.multiplexed {
		return true
	}
	s := c.tcpSocket()
	_, known := s.info()
	return s != nil && !known
}

// exchangingHellos reports whether Dial is still waiting for the server's Hello.
func (c *Conn) exchangingHellos() bool { return c.dialed != nil && c.dialed.exchanging }

// sentBeat reports to the beater that data, or a beat, was sent.
func (c *Conn) sentBeat(beat bool) {
	if c.dialed != nil {
		c.dialed.beat.sent(beat)
	}
}
