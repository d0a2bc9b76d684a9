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
	way    *way
	dialer liveness.Client
	notes  *noter
	beats  atomic.Int64
	wanted chan connectOrder // sessions to be opened, each by one send

	mu    sync.Mutex
	dirty bool // there was a change since the last note
	state holding
}

// dialling is how many sessions are being opened at once.
const dialling = 32

func newClient(o holdOrder, notes *noter) (role, error) {
	code, err := codec.ByName(o.Codec)
	if err != nil {
		return nil, err
	}
	c := &client{
		way:    newWay(o.Transport, o.Timeout, o.Sources),
		notes:  notes,
		wanted: make(chan connectOrder),
		state:  holding{Failed: make(map[string]int)},
	}
	c.dialer = liveness.Client{Codec: &counted{code, &c.beats}, Beat: o.Beat}
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

func (c *client) report(_ reportOrder, answer *note) {
	h := c.snapshot()
	answer.Client = &h
}

func (c *client) snapshot() holding {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.state
	h.Failed = maps.Clone(h.Failed)
	h.Beats = c.beats.Load()
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
		conn, err := c.dial(o.Server)
		if err != nil {
			c.change(func(h *holding) { h.Failed[why(err)]++ })
			continue
		}
		c.change(func(h *holding) { h.Connected++ })
		go c.hold(conn)
	}
}

func (c *client) dial(s served) (*liveness.Conn, error) {
	t, err := c.way.to(s)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialTime)
	defer cancel()
	return c.dialer.Dial(ctx, t, s.Addr)
}

// hold reads until the session ends, which nobody here asks for.
func (c *client) hold(conn *liveness.Conn) {
	defer conn.Close()
	buf := make([]byte, heldBuffer)
	for {
		if _, err := conn.Read(buf); err != nil {
			end, _ := errors.AsType[*liveness.Error](err)
			c.change(func(h *holding) {
				h.Lost++
				if end != nil && wrong(end.Reason) {
					h.FalseKills++
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
