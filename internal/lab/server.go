package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/internal/eventlog"
	"github.com/livenet/livenet/liveness"
)

// A serveTask makes a worker a server.
type serveTask struct {
	Rival       string        // one of rivals; empty: livenet
	Beat        time.Duration // of a rival that beats by itself
	Transport   string
	Codec       string
	IO          string
	Buffer      int           // of a handler; 0: the least
	Timeout     time.Duration // of its sliding policy
	Borne       time.Duration // longest silence that the transport must bear, if longer
	Echo        bool          // data is sent back
	Acks        bool          // of its peers are evidence
	Unprotected bool          // it takes its own stalls for its peers' silence
	Slow        time.Duration // how long the callback of each end takes
}

// What waits for a session's next bytes.
const (
	ioParked    = "parked"    // nothing: the server is called when there are some
	ioGoroutine = "goroutine" // the server's own goroutine, on package net's connections
	ioHandler   = "handler"   // a Handler in Read
)

var ios = []string{ioParked, ioGoroutine, ioHandler}

// A serverState is what a server has counted.
type serverState struct {
	Live   int
	Closed tally // by reason
	Stalls int   // that its engine noticed
	Ends   *ends // of the sessions there were at Mark
}

// A server is the role of a worker that accepts.
type server struct {
	live func() int

	srv   *liveness.Server // nil: a rival's
	watch *watcher
}

func serve(t serveTask, a *answer) (role, error) {
	if t.Rival != "" {
		return serveRival(t, a)
	}
	over, err := listening(t.Transport, t.IO != ioGoroutine, max(t.Timeout, t.Borne))
	if err != nil {
		return nil, err
	}
	srv, err := newServer(t)
	if err != nil {
		return nil, err
	}
	s := &server{srv: srv, watch: newWatcher(t.Slow), live: func() int { return int(srv.Counts(liveness.KindSession).Live) }}
	srv.Events = s.watch.event
	l, err := over.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	a.Addr = l.Addr().String()
	go func() { // until the process ends
		fmt.Fprintln(os.Stderr, "serving:", srv.Serve(context.Background(), l))
		os.Exit(1)
	}()
	return s, nil
}

func newServer(t serveTask) (*liveness.Server, error) {
	code, err := codec.ByName(t.Codec)
	if err != nil {
		return nil, err
	}
	policy := liveness.Sliding(t.Timeout)
	if t.Unprotected {
		policy = &unprotected{Policy: policy}
	}
	srv := &liveness.Server{Config: liveness.Config{Policy: policy, Engine: new(liveness.Engine)}, Codec: code}
	if t.Acks {
		srv.Evidence = codec.Acks
	}
	data := func(*liveness.Conn, []byte) error { return nil }
	if t.Echo {
		data = func(c *liveness.Conn, p []byte) error { _, err := c.Write(p); return err }
	}
	if t.IO != ioHandler {
		srv.Data = data
		return srv, nil
	}
	// The waiting is to be measured and not the buffer, unless one is asked for:
	// 64 bytes are the least that codecs need none of their own for.
	size := max(64, t.Buffer)
	srv.Handler = func(_ context.Context, c *liveness.Conn) {
		b := make([]byte, size)
		for {
			n, err := c.Read(b)
			if n > 0 && data(c, b[:n]) != nil || err != nil {
				return
			}
		}
	}
	return srv, nil
}

func (s *server) obey(o order, a *answer) error {
	if o.Mark {
		s.watch.mark()
	}
	for until := time.Now().Add(dialTime); s.live() < o.Await; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			return fmt.Errorf("%d of %d sessions were accepted within %v", s.live(), o.Await, dialTime)
		}
	}
	a.Server = &serverState{Live: s.live()}
	if s.srv == nil {
		return nil
	}
	a.Server.Closed = make(tally)
	counts := s.srv.Counts(liveness.KindSession)
	for _, by := range []map[liveness.Reason]uint64{counts.Closed, counts.Claimed} {
		for reason, n := range by {
			a.Server.Closed[reason.String()] += int(n)
		}
	}
	stats := s.srv.Engine.Stats()
	a.Server.Stalls = int(stats.Stalls)
	a.Server.Ends = s.watch.read(stats.LateMax)
	return nil
}

// An ends is what a server was told of the ends of marked sessions.
type ends struct {
	Told        int           // sessions whose end was told
	Again       int           // ends of which it was told before
	First, Last int64         // Unix nanoseconds
	Decided     time.Duration // the latest verdict of the engine, after its deadline
	Closed      time.Duration // the latest close, after its deadline
	Base, Peak  int64         // heap, at the mark and at most since
	LogLines    int64
}

// A watcher is told of sessions' ends. It logs them as livenet serve does.
type watcher struct {
	slow   time.Duration
	log    *eventlog.Log
	lines  lineCounter
	newest atomic.Uint64 // session ID
	marked atomic.Uint64 // sessions up to this one are marked
	peak   atomic.Int64

	mu    sync.Mutex
	known map[uint64]bool
	ends  ends
}

const logRate = 100 // lines a second

func newWatcher(slow time.Duration) *watcher {
	w := &watcher{slow: slow, known: make(map[uint64]bool)}
	w.log = eventlog.New(&w.lines, eventlog.Options{Format: eventlog.JSON, Rate: logRate})
	return w
}

func (w *watcher) event(e liveness.Event) {
	w.log.Event(e)
	switch {
	case e.Kind != liveness.KindSession:
	case e.What == liveness.Opened:
		for newest := w.newest.Load(); e.ID > newest && !w.newest.CompareAndSwap(newest, e.ID); newest = w.newest.Load() {
		}
	case e.What == liveness.Closed && e.ID <= w.marked.Load():
		time.Sleep(w.slow)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.known[e.ID] {
			w.ends.Again++
			return
		}
		w.known[e.ID] = true
		w.ends.Told++
		w.ends.Last = time.Now().UnixNano()
		if w.ends.Told == 1 {
			w.ends.First = w.ends.Last
		}
		w.ends.Closed = max(w.ends.Closed, e.Late)
	}
}

// mark makes the sessions that there are those whose ends are noted.
func (w *watcher) mark() {
	tidy()
	w.ends.Base = heapInUse()
	w.peak.Store(w.ends.Base)
	w.marked.Store(w.newest.Load())
	go func() { // until the process ends
		for range time.Tick(10 * time.Millisecond) {
			w.peak.Store(max(w.peak.Load(), heapInUse()))
		}
	}()
}

func (w *watcher) read(decided time.Duration) *ends {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.ends
	e.Decided, e.Peak, e.LogLines = decided, w.peak.Load(), w.lines.n.Load()
	return &e
}

// A lineCounter counts the lines that are written to it one by one.
type lineCounter struct{ n atomic.Int64 }

func (c *lineCounter) Write(p []byte) (int, error) {
	c.n.Add(1)
	return io.Discard.Write(p)
}
