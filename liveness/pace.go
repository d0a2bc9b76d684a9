package liveness

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// A pacer ends a connection whose peer takes less than [Config.MinPace] of what waits
// for it. Like a beater it is a lease whose policy asks for probes; a probe is a sample
// of what the peer has taken. Over TCP on Linux the kernel says what was acknowledged;
// elsewhere it is what Write has handed to the stream, in pieces small enough to show
// the progress of a peer that is just fast enough. The nil pacer does nothing.
type pacer struct {
	conn   *Conn
	socket *tcpSocket // nil: the kernel can't tell
	lease  atomic.Pointer[Lease]

	writing sync.Mutex   // held by a Write that is cut into pieces
	waiting atomic.Int64 // bytes of that Write that the stream has not taken
	piece   atomic.Int64 // the first of them, which are being written

	mu     sync.Mutex    // guards what follows: probes may overlap
	since  time.Duration // when goal was set, on the engine's clock
	goal   int64         // bytes that the peer is to have taken a window later
	stalls int64         // of the engine, until then
}

const (
	minPaced = 1 << 10 // bytes: fewer are no measure of a pace
	maxPiece = 16 << 10

	// samplesPerWindow is how often the peer's progress is looked at. A stall that
	// the engine's clock doesn't notice is shorter than half of the time between.
	samplesPerWindow = 4
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
	// Whoever ends the connection says so before it looks for the lease.
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

// window is the time over which the pace is judged, and how many bytes of those that
// wait the peer is to take in it. It is the timeout of the policy, or as long as
// leastPaced bytes take, if that is longer; [Never] if there is no such policy.
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

// write is the stream's Write, in pieces.
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

// sample returns how many bytes the peer has taken, how many more it may have taken,
// and how many wait for it.
func (p *pacer) sample() (taken, more, waiting int64) {
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

// tooSlow samples. It is never true for a peer that took what it had to in a window;
// a sample is compared only if the engine has not stalled since.
func (p *pacer) tooSlow() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.conn.state.cfg.engine()
	now := e.time()
	window, least := p.window()
	taken, more, waiting := p.sample()
	stalls := e.stats.stalls.Load()
	if waiting > 0 && taken+more < p.goal && stalls == p.stalls {
		unnoticed := window / samplesPerWindow / 2
		return now-p.since >= after(window, unnoticed)
	}
	p.goal, p.since, p.stalls = taken+min(waiting, least), e.time(), stalls
	return false
}

func (p *pacer) Policy() Policy {
	d, _ := p.window()
	return periodic(min(d/samplesPerWindow, time.Minute)) // it may get another policy
}

func (p *pacer) Heard() (ago time.Duration, _, _ bool) { return 0, false, false }
func (p *pacer) Arrived() (time.Duration, bool)        { return 0, false }
func (p *pacer) Expire(expiry)                         {}

// Probe samples. Its policy does not mind what is found.
func (p *pacer) Probe() bool {
	if p.tooSlow() {
		p.conn.state.end(ending{Error: Error{Reason: TooSlow}, abrupt: true})
	}
	return true
}

// checkPace refuses a pace that none of ps has a time to judge over.
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
