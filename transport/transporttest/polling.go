package transporttest

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/livenet/livenet/transport"
)

// A parker reads from a Pollable, and calls WakeOnRead when there is nothing to read.
type parker struct {
	transport.Pollable
	parked int // calls of WakeOnRead
	woken  atomic.Int64
	wakes  chan struct{} // has room for a second Wake, which would be an error
	buf    []byte
}

func newParker(s transport.Stream) *parker {
	p, _ := transport.As[transport.Pollable](s)
	return &parker{Pollable: p, wakes: make(chan struct{}, 2), buf: make([]byte, 1000)}
}

func (p *parker) Wake() {
	p.woken.Add(1)
	select {
	case p.wakes <- struct{}{}:
	default:
	}
}

func (p *parker) park() {
	p.parked++
	p.WakeOnRead(p)
}

func (p *parker) await(t *testing.T) {
	t.Helper()
	awaitFor(t, maxWait, "WakeOnRead", p.wakes)
}

// empty fails the test unless TryRead returns ErrWouldBlock.
func (p *parker) empty(t *testing.T) {
	t.Helper()
	n, err := awaitTry(t, p, make([]byte, 1))
	if n != 0 || err != transport.ErrWouldBlock {
		t.Fatalf("TryRead of nothing: %d, %v", n, err)
	}
}

// noWake fails the test if Wake is called.
func (p *parker) noWake(t *testing.T) {
	t.Helper()
	select {
	case <-p.wakes:
		t.Fatal("Wake was called without need")
	case <-time.After(quiet):
	}
}

// read reads, in small pieces, until it has size bytes or fails.
func (p *parker) read(t *testing.T, size int) (got []byte, err error) {
	t.Helper()
	for len(got) < size {
		n, err := awaitTry(t, p, p.buf)
		got = append(got, p.buf[:n]...)
		switch {
		case err == transport.ErrWouldBlock:
			p.park()
			p.await(t)
		case err != nil:
			return got, err
		}
	}
	return got, nil
}

// done checks that each WakeOnRead has called Wake once.
func (p *parker) done(t *testing.T) {
	t.Helper()
	<-time.After(quiet) // for one too many
	if n := int(p.woken.Load()); n != p.parked {
		t.Errorf("%d calls of Wake after %d of WakeOnRead", n, p.parked)
	}
}

// awaitTry calls TryRead, and fails the test if it blocks.
func awaitTry(t *testing.T, p transport.Pollable, buf []byte) (n int, err error) {
	t.Helper()
	await(t, "TryRead", async(func() bool {
		n, err = p.TryRead(buf)
		return true
	}))
	return n, err
}

// testPoll tests streams that are Pollable: TryRead never blocks and returns what Read would,
// and WakeOnRead calls Wake once for data, EOF or an error, whenever that arrives.
func testPoll(t *testing.T, n *network) {
	eitherEnd(t, n, "transport.Pollable", func(s transport.Stream) bool { _, ok := transport.As[transport.Pollable](s); return ok }, func(t *testing.T, name string) {
		for _, what := range events {
			for _, order := range []string{"Parked", "Parking", "Late"} {
				t.Run(what.name+"/"+order, func(t *testing.T) {
					here, there := n.pair(t).ends(name)
					p := newParker(here.Stream)
					switch order {
					case "Parked":
						p.empty(t)
						p.park()
						p.noWake(t)
						what.happen(here, there)
						p.await(t)
					case "Parking":
						p.empty(t)
						what.happen(here, there)
						p.park()
						p.await(t)
					case "Late":
						what.happen(here, there)
					}
					got, err := p.read(t, len(message))
					p.done(t)
					if what.check == nil {
						if err != nil || string(got) != string(message) {
							t.Errorf("read %d bytes, %v", len(got), err)
						}
						return
					}
					what.check(t, n, err)
					readErr := await(t, "Read", async(func() error { return readOne(here) }))
					if len(got) > 0 || readErr == nil || err.Error() != readErr.Error() {
						t.Errorf("TryRead has %d bytes and fails with %v, and Read with %v", len(got), err, readErr)
					}
				})
			}
		}
		t.Run("FirstOfAll", func(t *testing.T) { // before any TryRead
			here, there := n.pair(t).ends(name)
			p := newParker(here.Stream)
			there.Write(message)
			p.park()
			p.await(t)
			if got, err := p.read(t, len(message)); err != nil || string(got) != string(message) {
				t.Errorf("read %d bytes, %v", len(got), err)
			}
			p.done(t)
		})
		t.Run("Once", func(t *testing.T) {
			here, there := n.pair(t).ends(name)
			p := newParker(here.Stream)
			p.empty(t)
			p.park()
			for range 3 { // only the first wakes
				there.Write(message)
				<-time.After(quiet)
			}
			there.CloseWrite()
			p.await(t)
			p.noWake(t)
			if got, err := p.read(t, 3*len(message)); err != nil || len(got) != 3*len(message) {
				t.Errorf("read %d bytes, %v", len(got), err)
			}
			p.done(t)
		})
		t.Run("NoneIsLost", func(t *testing.T) { // data arrives during WakeOnRead
			here, there := n.pair(t).ends(name)
			p := newParker(here.Stream)
			// More arrives than one TryRead returns; the rest may be in any layer's buffer.
			p.buf = make([]byte, 4)
			next := make(chan []byte)
			defer close(next)
			go func() {
				for sent := range next {
					there.Write(sent)
				}
			}()
			for i := range 500 {
				p.empty(t)
				sent := message[i%5:][:1+i%100]
				next <- sent
				p.park()
				p.await(t)
				if got, err := p.read(t, len(sent)); err != nil || string(got) != string(sent) {
					t.Fatalf("round %d: read %q, %v", i, got, err)
				}
			}
			p.done(t)
		})
		t.Run("NoDeadline", func(t *testing.T) {
			for _, deadline := range deadlines {
				here, there := n.pair(t).ends(name)
				p := newParker(here.Stream)
				deadline.happen(here, there)
				<-time.After(2 * quiet)
				p.empty(t)
				p.park()
				there.Write(message)
				p.await(t)
				if got, err := p.read(t, len(message)); err != nil || string(got) != string(message) {
					t.Errorf("read %d bytes after a deadline, %v", len(got), err)
				}
				p.empty(t)
				deadline.check(t, n, readOne(here))
			}
		})
		t.Run("BesideRead", func(t *testing.T) {
			here, there := n.pair(t).ends(name)
			reading := read(t, here)
			for range 100 {
				newParker(here.Stream).empty(t)
			}
			there.Write([]byte{1})
			if err := awaitFor(t, maxWait, "Read", reading); err != nil {
				t.Errorf("Read: %v", err)
			}
		})
		// If TryRead returned ErrWouldBlock because a Read was under way, WakeOnRead wakes
		// for what that Read left.
		t.Run("AfterRead", func(t *testing.T) {
			here, there := n.pair(t).ends(name)
			for order, reads := range map[string]int{"Parked": 1, "Late": 1, "Later": 2} {
				p := newParker(here.Stream)
				reading := read(t, here)
				p.empty(t)
				if order == "Parked" {
					p.park()
				}
				sent := message[:100] // all at once: nothing arrives after the Read
				there.Write(sent)
				if err := awaitFor(t, maxWait, "Read", reading); err != nil {
					t.Fatalf("%s: Read: %v", order, err)
				}
				for range reads - 1 {
					if n, err := here.Read(make([]byte, 1)); n != 1 {
						t.Fatalf("%s: Read: %v", order, err)
					}
				}
				if order != "Parked" {
					p.park()
				}
				p.await(t)
				if got, err := p.read(t, len(sent)-reads); err != nil || string(got) != string(sent[reads:]) {
					t.Fatalf("%s: read %d bytes, %v", order, len(got), err)
				}
				p.done(t)
			}
		})
	})
}
