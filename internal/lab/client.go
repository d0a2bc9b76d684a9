package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

// A dialTask makes a worker a client that holds sessions.
type dialTask struct {
	Rival       string // of the server; empty: livenet
	Addr        string
	Transport   string
	Codec       string
	Sessions    int           // that it will be asked to open
	NoStream    bool          // yamux: sessions without a stream, which do not beat
	Sockets     bool          // a raw client, where the protocol allows for one
	Beat        time.Duration // each session beats once in it
	Timeout     time.Duration // the server's
	Borne       time.Duration // longest silence that the transport must bear, if longer
	Judge       time.Duration // end servers that are silent for so long; 0: none
	Unprotected bool          // it takes its own stalls for its servers' silence
}

// A client is the role of a worker that holds sessions like a user's program: one dial and one
// goroutine in Read for each.
type client struct {
	task  dialTask
	dial  func(context.Context) (*held, error)
	live  liveness.Client // livenet's, but for the codec
	beats atomic.Int64

	mu    sync.Mutex
	held  map[*held]struct{}
	state clientState
}

// A held is a session. Its coder can be made to stop beating; other libraries have no coder.
type held struct {
	io.ReadWriteCloser
	coder *mutedCoder
	late  bool // silent since before the last Restart
}

// mostDialling is how many sessions are being opened at once. quic-go refuses
// more than 32 that wait for Accept.
const mostDialling = 24

func newClient(t dialTask) (role, error) {
	c := &client{task: t, held: make(map[*held]struct{}), state: clientState{Failed: make(tally)}}
	if t.Rival != "" {
		r, err := rivalOf(t.Rival)
		if err != nil {
			return nil, err
		}
		dial := r.dial(t.Addr, t.Beat)
		c.dial = func(ctx context.Context) (*held, error) { return echoed(dial(ctx)) }
		return c, nil
	}
	over, err := dialling(t.Transport, max(t.Timeout, t.Borne))
	if err != nil {
		return nil, err
	}
	code, err := codec.ByName(t.Codec)
	if err != nil {
		return nil, err
	}
	c.live = liveness.Client{Beat: t.Beat}
	c.live.Engine = new(liveness.Engine)
	if t.Judge > 0 {
		c.live.Policy = liveness.Sliding(t.Judge, liveness.ProbeAfter(t.Judge/3))
		if t.Unprotected {
			c.live.Policy = &unprotected{Policy: c.live.Policy}
		}
	}
	c.dial = func(ctx context.Context) (*held, error) { return c.dialLivenet(ctx, over, code) }
	if t.NoStream {
		c.dial = func(ctx context.Context) (*held, error) { return dialBare(ctx, over, t.Addr) }
	}
	return c, nil
}

func (c *client) dialLivenet(ctx context.Context, over transport.Transport, code codec.Codec) (*held, error) {
	muted := &mutedCodec{Codec: code, beats: &c.beats}
	dialer := c.live
	dialer.Codec = muted
	conn, err := dialer.Dial(ctx, over, c.task.Addr)
	return &held{ReadWriteCloser: conn, coder: &muted.coder}, err
}

// dialBare opens a session and no stream in it.
func dialBare(ctx context.Context, over transport.Transport, addr string) (*held, error) {
	sess, err := over.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return &held{ReadWriteCloser: bareSession{sess}}, nil
}

type bareSession struct{ transport.Session }

func (s bareSession) Read([]byte) (int, error)    { <-s.Context().Done(); return 0, io.EOF }
func (s bareSession) Write(p []byte) (int, error) { return len(p), nil }
func (s bareSession) Close() error                { return s.Session.Close(0, "") }

// echoed exchanges one message on a session of another library.
func echoed(conn io.ReadWriteCloser, err error) (*held, error) {
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(conn, beatLine); err != nil {
		return nil, err
	}
	got := make([]byte, len(beatLine))
	if _, err := io.ReadFull(conn, got); err != nil {
		return nil, err
	}
	if string(got) != beatLine {
		return nil, fmt.Errorf("the echo is %q", got)
	}
	return &held{ReadWriteCloser: conn}, nil
}

func (c *client) obey(o order, a *answer) error {
	c.open(o.Open)
	if o.Silence != nil {
		c.silence(*o.Silence)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	state := c.state
	state.Failed = maps.Clone(state.Failed)
	state.Beats = c.beats.Load()
	if c.live.Engine != nil {
		state.Stalls = int(c.live.Engine.Stats().Stalls)
	}
	a.Client = &state
	if o.Restart {
		c.state.Ends = nil
		for h := range c.held {
			h.late = h.coder != nil && h.coder.quiet.Load()
		}
	}
	return nil
}

// open opens n sessions, or has them fail.
func (c *client) open(n int) {
	next := make(chan struct{})
	var wg sync.WaitGroup
	for range min(n, mostDialling) {
		wg.Go(func() {
			for range next {
				c.openOne()
			}
		})
	}
	for range n {
		next <- struct{}{}
	}
	close(next)
	wg.Wait()
}

func (c *client) openOne() {
	ctx, cancel := context.WithTimeout(context.Background(), dialTime)
	defer cancel()
	h, err := c.dial(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.state.Failed[cause(err)]++
		return
	}
	c.state.Connected++
	c.held[h] = struct{}{}
	go c.hold(h)
}

// silence picks sessions at random.
func (c *client) silence(s silence) {
	var chosen []*held
	c.mu.Lock()
	for h := range c.held {
		if len(chosen) < s.N && !h.coder.quiet.Load() {
			chosen = append(chosen, h)
		}
	}
	c.mu.Unlock()
	for _, h := range chosen {
		if s.Beat {
			h.coder.sent.Store(time.Now().UnixNano())
			h.Write([]byte{0}) // counts as much as a beat
		}
		h.coder.quiet.Store(true)
	}
}

// hold reads until the session ends.
func (c *client) hold(h *held) {
	defer h.Close()
	buf := make([]byte, 64) // the least that a codec reads into directly
	for {
		if _, err := h.Read(buf); err != nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			delete(c.held, h)
			c.lost(h, err)
			return
		}
	}
}

// lost counts an end. The caller holds the lock.
func (c *client) lost(h *held, err error) {
	c.state.Lost++
	reason, _ := errors.AsType[*liveness.Error](err)
	switch {
	case h.coder != nil && h.coder.quiet.Load() && h.coder.silence() >= c.task.Timeout:
		c.state.Ended++
		if !h.late {
			c.state.Ends = append(c.state.Ends, time.Now().UnixNano())
		}
	case reason != nil && judged(reason.Reason):
		c.state.FalseKills++
	}
}

// judged reports whether a reason is a policy's, for which a session that beats
// must not end.
func judged(r liveness.Reason) bool {
	switch r {
	case liveness.Silent, liveness.NoHello, liveness.FixedDeadline, liveness.Aged, liveness.TooSlow, liveness.TooManyBeats:
		return true
	}
	return false
}

// A mutedCodec is a codec for one session, whose coder counts beats and can be made to stop
// beating.
type mutedCodec struct {
	codec.Codec
	beats *atomic.Int64
	coder mutedCoder
}

func (c *mutedCodec) Client(hello codec.Hello) codec.Coder {
	c.coder.Coder, c.coder.beats = c.Codec.Client(hello), c.beats
	return &c.coder
}

type mutedCoder struct {
	codec.Coder
	beats *atomic.Int64
	sent  atomic.Int64 // when the last beat was: Unix nanoseconds
	quiet atomic.Bool
}

func (c *mutedCoder) silence() time.Duration { return time.Since(time.Unix(0, c.sent.Load())) }

func (c *mutedCoder) AppendPing(dst []byte, seq uint32) ([]byte, bool) {
	if c.quiet.Load() {
		return dst, false
	}
	dst, ok := c.Coder.AppendPing(dst, seq)
	if ok {
		c.beats.Add(1)
		c.sent.Store(time.Now().UnixNano())
	}
	return dst, ok
}

// cause is an error without what differs from one session to the next, such as
// its addresses.
func cause(err error) string {
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		return call.Error()
	}
	for {
		op, ok := errors.AsType[*net.OpError](err)
		if !ok || op.Err == nil {
			return err.Error()
		}
		err = op.Err
	}
}
