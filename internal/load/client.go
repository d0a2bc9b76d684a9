package load

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/liveness"
)

// A client is the role of a worker that holds sessions as a program of a user's
// would: by a liveness.Client, which beats, and a goroutine that reads, for
// each.
type client struct {
	way     *way
	codec   codec.Codec
	dialer  liveness.Client // but for the codec
	notes   *noter
	beats   atomic.Int64
	timeout time.Duration     // the servers'
	wanted  chan connectOrder // sessions to be opened, each by one send

	mu    sync.Mutex
	held  map[*held]struct{}
	dirty bool // there was a change since the last note
	state holding
}

// A held is a session, and how to keep it from beating.
type held struct {
	conn  *liveness.Conn
	codec *counted
	late  bool // silent since before the last report that said Restart
}

// dialling is how many sessions are being opened at once.
const dialling = 32

func newClient(o holdOrder, notes *noter) (role, error) {
	code, err := codec.ByName(o.Codec)
	if err != nil {
		return nil, err
	}
	c := &client{
		way:     newWay(o.Transport, max(o.Timeout, o.Borne), o.Sources),
		codec:   code,
		timeout: o.Timeout,
		held:    make(map[*held]struct{}),
		notes:   notes,
		wanted:  make(chan connectOrder),
		state:   holding{Failed: make(map[string]int)},
	}
	c.dialer = liveness.Client{Beat: o.Beat}
	c.dialer.Engine = new(liveness.Engine)
	if o.Judge > 0 {
		c.dialer.Policy = liveness.Sliding(o.Judge, liveness.ProbeAfter(o.Judge/3))
	}
	if o.Unprotected {
		c.dialer.Policy = &unprotected{Policy: c.dialer.Policy}
	}
	for range dialling {
		go c.dialAll() // until the process ends
	}
	go c.noteChanges()
	return c, nil
}

func (c *client) connect(o connectOrder) {
	go func() { // the order's reader has others to read
		for range o.N {
			c.wanted <- o
		}
	}()
}

func (c *client) watch(bool) {}

func (c *client) report(o reportOrder, answer *note) {
	h := c.snapshot()
	if !o.Ends {
		h.Ends = nil
	}
	answer.Client = &h
	if o.Restart {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.state.Ends = nil
		for h := range c.held {
			h.late = h.codec.coder.quiet.Load()
		}
	}
}

// silence picks sessions at random.
func (c *client) silence(o silenceOrder) {
	c.mu.Lock()
	var chosen []*held
	for h := range c.held {
		if len(chosen) == o.N {
			break
		}
		if !h.codec.coder.quiet.Load() {
			chosen = append(chosen, h)
		}
	}
	c.state.Silent += len(chosen)
	c.mu.Unlock()
	for _, h := range chosen {
		if o.Last {
			h.codec.coder.beat.Store(time.Now().UnixNano()) // it counts as much
			h.conn.Write([]byte{0})                         // what is echoed is forgotten
		}
		h.codec.coder.quiet.Store(true)
	}
}

func (c *client) snapshot() holding {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.state
	h.Failed = maps.Clone(h.Failed)
	h.Beats = c.beats.Load()
	h.Stalls = int(c.dialer.Engine.Stats().Stalls)
	return h
}

func (c *client) noteChanges() {
	for range time.Tick(noteEvery) {
		c.mu.Lock()
		dirty := c.dirty
		c.dirty = false
		c.mu.Unlock()
		if dirty {
			h := c.snapshot()
			h.Ends = nil
			c.notes.note(note{Client: &h})
		}
	}
}

// change changes the state.
func (c *client) change(f func(*holding)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dirty = true
	f(&c.state)
}

func (c *client) dialAll() {
	for o := range c.wanted {
		h, err := c.dial(o.Server)
		if err != nil {
			c.change(func(h *holding) { h.Failed[why(err)]++ })
			continue
		}
		c.change(func(s *holding) {
			s.Connected++
			c.held[h] = struct{}{}
		})
		go c.hold(h)
	}
}

func (c *client) dial(s served) (*held, error) {
	t, err := c.way.to(s)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialTime)
	defer cancel()
	h := &held{codec: &counted{Codec: c.codec, beats: &c.beats}}
	dialer := c.dialer
	dialer.Codec = h.codec
	h.conn, err = dialer.Dial(ctx, t, s.Addr)
	return h, err
}

// hold reads until the session ends, which nobody here asks for.
func (c *client) hold(h *held) {
	defer h.conn.Close()
	buf := make([]byte, beatBuffer)
	for {
		if _, err := h.conn.Read(buf); err != nil {
			c.change(func(s *holding) {
				delete(c.held, h)
				s.Lost++
				end, _ := errors.AsType[*liveness.Error](err)
				switch {
				case h.codec.coder.quiet.Load() && time.Since(h.codec.coder.last()) >= c.timeout:
					s.end(h.late)
				case end != nil && wrong(end.Reason):
					s.FalseKills++
				}
			})
			return
		}
	}
}

// wrong reports whether a session that beats must not end for a reason,
// whichever end gives it.
func wrong(r liveness.Reason) bool {
	switch r {
	case liveness.Silent, liveness.NoHello, liveness.FixedDeadline, liveness.Aged, liveness.TooSlow, liveness.TooManyBeats:
		return true
	}
	return false
}

// beatBuffer is what a client reads into: any beat fits, and it is the least
// that a codec reads into directly.
const beatBuffer = 64
