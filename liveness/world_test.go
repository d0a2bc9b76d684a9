package liveness_test

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/transporttest"
)

const ms, sec = time.Millisecond, time.Second

// A world is a server, its transport and all its events.
type world struct {
	t    *testing.T
	srv  *Server
	net  transport.Transport
	addr string

	stop   context.CancelFunc
	served chan error

	mu     sync.Mutex
	events []Event
	more   chan struct{} // closed, and replaced, with each event
}

// serve runs srv over tr, until the test ends.
func serve(t *testing.T, srv *Server, tr transport.Transport) *world {
	t.Helper()
	w := &world{t: t, srv: srv, net: tr, served: make(chan error, 1)}
	srv.Events = w.record
	if srv.Engine == nil {
		srv.Engine = new(Engine)
	}
	if srv.Handler == nil && srv.Data == nil {
		if n, ok := tr.(network); ok && n.byData {
			srv.Data = echoData
		} else {
			srv.Handler = echo
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	w.stop = cancel
	addr := "127.0.0.1:0"
	l, err := tr.Listen(ctx, addr)
	if err != nil {
		t.Fatal(err)
	}
	w.addr = l.Addr().String()
	go func() { w.served <- srv.Serve(ctx, l) }()
	return w
}

// end stops the server and checks: one end, one reason and one event each.
func (w *world) end() {
	w.t.Helper()
	w.srv.Close()
	if err := <-w.served; err != nil {
		w.t.Errorf("Serve: %v", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	type key struct {
		kind Kind
		id   uint64
	}
	opened, closed := map[key]int{}, map[key]int{}
	type end struct {
		reason  Reason
		claimed bool
	}
	ends := map[Kind]map[end]uint64{KindSession: {}, KindStream: {}}
	for _, e := range w.events {
		switch e.What {
		case Opened:
			opened[key{e.Kind, e.ID}]++
		case Closed:
			closed[key{e.Kind, e.ID}]++
			ends[e.Kind][end{e.End.Reason, e.End.Claimed()}]++
		}
	}
	for id, n := range opened {
		if n != 1 || closed[id] != 1 {
			w.t.Errorf("%v was opened %d times and closed %d times", id, n, closed[id])
		}
	}
	if len(closed) != len(opened) {
		w.t.Errorf("%d opened, %d closed", len(opened), len(closed))
	}
	for _, k := range []Kind{KindSession, KindStream} {
		c := w.srv.Counts(k)
		if c.Live != 0 {
			w.t.Errorf("%d %vs live after the end", c.Live, k)
		}
		for e, n := range ends[k] {
			counted := c.Closed[e.reason]
			if e.claimed {
				counted = c.Claimed[e.reason]
			}
			if counted != n {
				w.t.Errorf("%d %vs counted %v, %d told", counted, k, e.reason, n)
			}
		}
	}
}

func (w *world) record(e Event) {
	w.mu.Lock()
	w.events = append(w.events, e)
	if w.more != nil {
		close(w.more)
		w.more = nil
	}
	w.mu.Unlock()
}

// awaitClosed waits for a Closed event of a kind.
func (w *world) awaitClosed(k Kind) { w.awaitAllClosed(k, 1) }

// awaitAllClosed waits until n of the kind have closed.
func (w *world) awaitAllClosed(k Kind, n int) {
	for len(w.closed(k)) < n {
		w.mu.Lock()
		if w.more == nil {
			w.more = make(chan struct{})
		}
		more := w.more
		w.mu.Unlock()
		if len(w.closed(k)) < n {
			<-more
		}
	}
}

// closed returns the Closed events of one kind so far.
func (w *world) closed(k Kind) []Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []Event
	for _, e := range w.events {
		if e.What == Closed && e.Kind == k {
			list = append(list, e)
		}
	}
	return list
}

// one returns the only Closed event of one kind.
func (w *world) one(k Kind) Event {
	w.t.Helper()
	list := w.closed(k)
	if len(list) != 1 {
		w.t.Fatalf("%d %vs have closed, want 1", len(list), k)
	}
	return list[0]
}

// dial opens a session and a stream without package liveness on the client's side.
func (w *world) dial() (transport.Session, transport.Stream) {
	w.t.Helper()
	sess, err := w.net.Dial(w.t.Context(), w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	st, err := sess.OpenStream(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return sess, st
}

// client dials with a Client.
func (w *world) client(c Client) *Conn {
	w.t.Helper()
	if c.Engine == nil {
		c.Engine = new(Engine)
	}
	conn, err := c.Dial(w.t.Context(), w.net, w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	return conn
}

func echo(_ context.Context, c *Conn) { io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) }

func echoData(c *Conn, p []byte) error {
	_, err := c.Write(p)
	return err
}

// say writes s and reads it back.
func say(t *testing.T, c io.ReadWriter, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatalf("writing %q: %v", s, err)
	}
	buf := make([]byte, len(s))
	if _, err := io.ReadFull(c, buf); err != nil {
		t.Fatalf("reading %q back: %v", s, err)
	}
	if string(buf) != s {
		t.Fatalf("wrote %q, read %q", s, buf)
	}
}

// inBubble runs f in a bubble, over the in-memory transport.
func inBubble(t *testing.T, f func(*testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func memory() transport.Transport { return new(transporttest.Memory) }

// A pipes is a transport whose sessions are one stream: a net.Pipe, or one that parks.
type pipes struct {
	accept chan net.Conn
	pair   func() (a, b net.Conn)
}

func newPipes() *pipes       { return &pipes{make(chan net.Conn), net.Pipe} }
func newParkedPipes() *pipes { return &pipes{make(chan net.Conn), parkedPair} }

func (p *pipes) Listen(context.Context, string) (transport.Listener, error) {
	return &pipeListener{p, make(chan struct{}), sync.Once{}}, nil
}

func (p *pipes) Dial(ctx context.Context, _ string) (transport.Session, error) {
	here, there := p.pair()
	select {
	case p.accept <- there:
		return transport.Single(here), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type pipeListener struct {
	*pipes
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) Accept(ctx context.Context) (transport.Session, error) {
	select {
	case c := <-l.accept:
		return transport.Single(c), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }
func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
