package transporttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/livenet/livenet/transport"
)

const (
	maxWait     = 10 * time.Second      // for something that has to happen eventually
	maxPrompt   = 3 * time.Second       // for something that has to happen at once, on a busy machine
	quiet       = 10 * time.Millisecond // without progress for so long, a call counts as blocked
	testTimeout = 2 * time.Minute       // for a whole test, on a very busy machine
)

// A network is a listener and the two transports on either side of it.
type network struct {
	Config
	server, client transport.Transport
	listener       transport.Listener
}

func (c Config) listen(t *testing.T) *network {
	t.Helper()
	server, client, addr := c.New(t)
	l, err := server.Listen(t.Context(), addr)
	if err != nil {
		t.Fatalf("Listen(%q): %v", addr, err)
	}
	t.Cleanup(func() { l.Close() })
	return &network{Config: c, server: server, client: client, listener: l}
}

// parallel runs a subtest in parallel to others, on a network of its own.
func (n *network) parallel(t *testing.T) *network {
	t.Parallel()
	return n.listen(t)
}

func (n *network) addr() string { return n.listener.Addr().String() }

// A pair is a session seen from both ends, with one stream in it that the
// client opened.
type pair struct {
	client, server   transport.Session
	opened, accepted transport.Stream
}

func (p *pair) close() {
	for _, s := range []transport.Session{p.client, p.server} {
		if s != nil {
			s.Close(0, "")
		}
	}
}

// pair connects, and closes the sessions when the test ends, or after testTimeout, which may
// unblock it.
func (n *network) pair(t *testing.T) *pair {
	t.Helper()
	p, err := n.connect()
	if err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(testTimeout, func() {
		t.Error("the test hangs")
		p.close()
	})
	t.Cleanup(func() {
		watchdog.Stop()
		p.close()
	})
	return p
}

// connect dials and accepts at once: a handshake may need both ends.
func (n *network) connect() (*pair, error) {
	ctx, cancel := context.WithTimeout(context.Background(), maxWait)
	defer cancel()
	p := new(pair)
	dialled := async(func() error {
		err := n.dial(ctx, p)
		if err != nil {
			cancel()
		}
		return err
	})
	err := n.accept(ctx, p)
	if err != nil {
		cancel()
	}
	err = errors.Join(<-dialled, err)
	if err == nil && (p.client.Multiplexed() != n.Multiplexes || p.server.Multiplexed() != n.Multiplexes) {
		err = fmt.Errorf("Multiplexed: client says %t, server %t, Config %t",
			p.client.Multiplexed(), p.server.Multiplexed(), n.Multiplexes)
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (n *network) dial(ctx context.Context, p *pair) (err error) {
	if p.client, err = n.client.Dial(ctx, n.addr()); err != nil {
		return fmt.Errorf("Dial: %w", err)
	}
	p.opened, err = open(ctx, p.client)
	return err
}

func (n *network) accept(ctx context.Context, p *pair) (err error) {
	if p.server, err = n.listener.Accept(ctx); err != nil {
		return fmt.Errorf("Accept: %w", err)
	}
	p.accepted, err = accept(ctx, p.server)
	return err
}

// first is the first byte on every stream: on some transports the peer can't accept a stream
// before its first byte.
const first = '>'

func open(ctx context.Context, s transport.Session) (transport.Stream, error) {
	st, err := s.OpenStream(ctx)
	if err != nil {
		return nil, fmt.Errorf("OpenStream: %w", err)
	}
	if _, err := st.Write([]byte{first}); err != nil {
		return nil, fmt.Errorf("first Write: %w", err)
	}
	return st, nil
}

func accept(ctx context.Context, s transport.Session) (transport.Stream, error) {
	st, err := s.AcceptStream(ctx)
	if err != nil {
		return nil, fmt.Errorf("AcceptStream: %w", err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		st.SetReadDeadline(deadline)
		defer st.SetReadDeadline(time.Time{})
	}
	var b [1]byte
	if _, err := io.ReadFull(st, b[:]); err != nil {
		return nil, fmt.Errorf("first Read: %w", err)
	}
	if b[0] != first {
		return nil, fmt.Errorf("first Read: got %q, want %q", b[0], first)
	}
	return st, nil
}

// between opens a stream from one session to the other.
func between(from, to transport.Session) (opened, accepted transport.Stream, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), maxWait)
	defer cancel()
	opening := async(func() (err error) {
		if opened, err = open(ctx, from); err != nil {
			cancel()
		}
		return err
	})
	accepted, err = accept(ctx, to)
	if err != nil {
		cancel()
	}
	return opened, accepted, errors.Join(<-opening, err)
}

// echo checks that bytes pass between a and b, both ways.
func echo(t *testing.T, a, b net.Conn) {
	t.Helper()
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		const text = "are you there?"
		written := async(func() error {
			_, err := io.WriteString(way[0], text)
			return err
		})
		got := make([]byte, len(text))
		if _, err := io.ReadFull(way[1], got); err != nil || string(got) != text {
			t.Fatalf("read %q, %v", got, err)
		}
		if err := await(t, "Write", written); err != nil {
			t.Fatalf("Write: %v", err)
		}
	}
}

// read starts a Read that blocks, and returns a channel with its error.
func read(t *testing.T, st transport.Stream) <-chan error {
	t.Helper()
	reading := async(func() error {
		_, err := st.Read(make([]byte, 1))
		return err
	})
	select {
	case err := <-reading:
		t.Fatalf("Read did not wait for anything: %v", err)
	case <-time.After(quiet):
	}
	return reading
}

// stall writes to w until a Write blocks, and returns a channel with the error of that Write.
func stall(w io.Writer) <-chan error {
	moved := make(chan struct{}, 1)
	blocked := async(func() error {
		for p := make([]byte, 64<<10); ; {
			if _, err := w.Write(p); err != nil {
				return err
			}
			select {
			case moved <- struct{}{}:
			default:
			}
		}
	})
	for {
		select {
		case <-moved:
		case <-time.After(quiet):
			return blocked
		}
	}
}

// async calls f in a goroutine, and returns a channel with its result.
func async[T any](f func() T) <-chan T {
	c := make(chan T, 1)
	go func() { c <- f() }()
	return c
}

// await receives from c, or fails the test after maxPrompt.
func await[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	return awaitFor(t, maxPrompt, what, c)
}

func awaitFor[T any](t *testing.T, d time.Duration, what string, c <-chan T) (v T) {
	t.Helper()
	timeout := time.NewTimer(d)
	defer timeout.Stop()
	select {
	case v = <-c:
	case <-timeout.C:
		t.Fatalf("%s: nothing happened for %v", what, d)
	}
	return v
}

// ended waits for the end of s and returns how it ended.
func ended(t *testing.T, s transport.Session) *transport.CloseError {
	t.Helper()
	awaitFor(t, maxWait, "the end of the session", s.Context().Done())
	return closeError(t, context.Cause(s.Context()))
}

func closeError(t *testing.T, err error) *transport.CloseError {
	t.Helper()
	ce, ok := errors.AsType[*transport.CloseError](err)
	if !ok {
		t.Fatalf("error is a %T (%v), want a *transport.CloseError in it", err, err)
	}
	return ce
}

// wantLocal checks the error of a call after this end has closed.
func wantLocal(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("%s: error %v, want net.ErrClosed", what, err)
	}
}

// cancelled returns a context that has ended.
func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// parallel calls f n times at once and waits for all of them.
func parallel(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}
