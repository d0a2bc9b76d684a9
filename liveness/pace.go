package liveness

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// A pacer ends a connection whose peer reads more slowly than [Config.MinPace] while data waits
// for it. Like a beater it has a lease whose policy asks for probes; a probe checks the peer's
// progress. That is what was acknowledged, over TCP on Linux; elsewhere what the stream's Write
// has returned for, in pieces small enough to show progress at MinPace. A nil pacer does nothing.
type pacer struct {
	conn   *Conn
	socket *tcpSocket // nil: the send queue can't be queried
	lease  atomic.Pointer[Lease]

	writing sync.Mutex   // held by a Write
	waiting atomic.Int64 // bytes of that Write that are not yet written
	piece   atomic.Int64 // size of the piece being written, which is part of waiting

	mu      sync.Mutex    // guards what follows: probes may overlap
	since   time.Duration // when goal was set, on the engine's clock
	goal    int64         // total of bytes that the peer must have taken a window later
	stalled int64         // for how long the engine had stalled by then
}

const (
	minPaced = 1 << 10 // bytes; fewer say nothing about the pace
	maxPiece = 16 << 10

	// checksPerWindow is how often progress is checked in a window. A stall that the
	// engine's clock doesn't notice is shorter than half an interval.
	checksPerWindow = 4
)

func newPacer(c *Conn) *pacer {
	if c.state.cfg.MinPace <= 0 {
		return nil
	}
	p := &pacer{conn: c}
	if s := c.tcpSocket(); s != nil {
		if _, _, ok := s.sendQueue(); ok {
			p.socket = s
		}
	}
	return p
}

func (p *pacer) start() {
	if p == nil {
		return
	}
	p.lease.Store(p.conn.state.cfg.engine().watch(p))
	// end stores ended before it calls stop. So if it has missed the lease, ended is set here.
	if p.conn.state.ended.Load() != nil {
		p.stop()
	}
}

func (p *pacer) stop() {
	if p == nil {
		return
	}
	if l := p.lease.Load(); l != nil {
		l.Release()
	}
}

// window returns the time over which the pace is judged, and how many bytes of those that wait
// the peer must take in it. The time is the policy's timeout, or what minPaced bytes take if
// that is longer; [Never] if no policy has a timeout.
func (p *pacer) window() (d time.Duration, least int64) {
	for s := &p.conn.state; s != nil; s = s.parent {
		policy := s.policy.Load()
		if policy == nil {
			continue
		}
		if d, ok := silenceTimeout(policy.Policy); ok {
			pace := float64(p.conn.state.cfg.MinPace)
			if bytes := pace * d.Seconds(); bytes >= minPaced {
				return d, int64(min(bytes, math.MaxInt32))
			}
			return time.Duration(minPaced / pace * float64(time.Second)), minPaced
		}
	}
	return Never, math.MaxInt32
}

// write writes b to the stream in pieces.
func (p *pacer) write(b []byte) (n int, err error) {
	p.writing.Lock()
	defer p.writing.Unlock()
	defer p.waiting.Store(0)
	_, least := p.window()
	for {
		piece := b[n:][:min(len(b)-n, maxPiece, int(least))]
		p.piece.Store(int64(len(piece)))
		p.waiting.Store(int64(len(b) - n))
		k, err := p.conn.stream.Write(piece)
		p.conn.state.addOut(k)
		if n += k; err != nil || n == len(b) {
			return n, err
		}
	}
}

// progress returns how many bytes the peer has taken, how many more it may have taken, and how
// many wait for it.
func (p *pacer) progress() (taken, more, waiting int64) {
	if p.socket != nil {
		taken, waiting, _ = p.socket.sendQueue()
		return taken, 0, waiting
	}
	taken = p.conn.state.out.Load()
	if waiting = p.waiting.Load(); waiting > 0 {
		more = p.piece.Load() - 1
	}
	return taken, more, waiting
}

// tooSlow reports whether the peer has missed its goal for a whole window. It
// sets a new goal when the old one is reached and when nothing waits. Stalls of this process
// extend the window.
func (p *pacer) tooSlow() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.conn.state.cfg.engine()
	now := e.time()
	window, least := p.window()
	taken, more, waiting := p.progress()
	stalled := e.stats.stalled.Load()
	if waiting > 0 && taken+more < p.goal {
		unnoticed := window / checksPerWindow / 2
		catchUp := time.Duration(stalled-p.stalled) * 3 / 2 // the stall, and time to catch up
		return now-p.since >= after(after(window, unnoticed), catchUp)
	}
	p.goal, p.since, p.stalled = taken+min(waiting, least), e.time(), stalled
	return false
}

func (p *pacer) Policy() Policy {
	d, _ := p.window()
	return periodic(min(d/checksPerWindow, time.Minute)) // the session's policy may change
}

func (p *pacer) Heard() (ago time.Duration, _, _ bool) { return 0, false, false }
func (p *pacer) Arrived() (time.Duration, bool)        { return 0, false }
func (p *pacer) Expire(expiry)                         {}

// Probe ends the connection if the peer is too slow.
func (p *pacer) Probe() bool {
	if p.tooSlow() {
		p.conn.state.end(ending{Error: Error{Reason: TooSlow}, abrupt: true})
	}
	return true
}

// checkPace returns an error if MinPace is set, but none of ps has a timeout to judge it over.
func (c *Config) checkPace(ps ...Policy) error {
	switch {
	case c.MinPace < 0:
		return fmt.Errorf("liveness: a MinPace of %d bytes a second", c.MinPace)
	case c.MinPace == 0:
		return nil
	}
	for _, p := range ps {
		if p == nil {
			continue
		}
		if _, ok := silenceTimeout(p); ok {
			return nil
		}
	}
	return fmt.Errorf("liveness: MinPace is judged over a sliding policy's timeout, and the policy is %v", describe(ps[0]))
}
