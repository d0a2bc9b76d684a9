package transporttest

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/livenet/livenet/transport"
)

// An end is one end of a stream, and of its session.
type end struct {
	session transport.Session
	transport.Stream
}

// ends returns the two ends of the pair's stream, beginning with the named one.
func (p *pair) ends(name string) (here, there end) {
	here, there = end{p.client, p.opened}, end{p.server, p.accepted}
	if name == "Acceptor" {
		here, there = there, here
	}
	return here, there
}

// An event makes a blocked Read return.
type event struct {
	name   string
	happen func(here, there end)

	// check fails t if err is not the right error of Read; nil if Read returns data.
	check func(t *testing.T, n *network, err error)
}

// endCode is the code of all ends in events.
const endCode = 7

// message takes more than one Read.
var message = bytes.Repeat([]byte("whole"), 5000)

var events = []event{
	{"Data", func(_, there end) { there.Write(message) }, nil},
	{"PeerCloseWrite", func(_, there end) { there.CloseWrite() }, wantEOF},
	{"PeerClose", func(_, there end) { there.Close() }, wantEOF},
	{"PeerReset", func(_, there end) { there.Reset(endCode) }, func(t *testing.T, n *network, err error) {
		if n.Resets {
			wantReset(t, n, "Read", err, endCode)
		}
	}},
	{"PeerSessionClose", func(_, there end) { there.session.Close(endCode, "") }, func(t *testing.T, n *network, err error) {
		if !n.Multiplexes {
			wantEOF(t, n, err)
			return
		}
		ce := closeError(t, err)
		if ce.Origin != transport.Peer || ce.Reset || n.SessionCodes && !ce.HasCode || ce.HasCode && ce.Code != endCode {
			t.Errorf("Read: %v, want an end by the peer", err)
		}
	}},
	{"Close", func(here, _ end) { here.Close() }, func(t *testing.T, _ *network, err error) {
		wantLocal(t, "Read", err)
	}},
	{"Reset", func(here, _ end) { here.Reset(endCode) }, wantOwn(true)},
	{"SessionClose", func(here, _ end) { here.session.Close(endCode, "") }, wantOwn(false)},
}

func wantEOF(t *testing.T, _ *network, err error) {
	t.Helper()
	if err != io.EOF {
		t.Errorf("Read: %v, want EOF", err)
	}
}

func wantOwn(reset bool) func(*testing.T, *network, error) {
	return func(t *testing.T, _ *network, err error) {
		t.Helper()
		wantLocal(t, "Read", err)
		if ce := closeError(t, err); ce.Origin != transport.Local || ce.Reset != reset || !ce.HasCode || ce.Code != endCode {
			t.Errorf("Read: %v, want what this end did", err)
		}
	}
}

// deadlines are events for calls that block.
var deadlines = []event{
	{"DeadlinePassed", func(here, _ end) { here.SetReadDeadline(time.Unix(1, 0)) }, wantTimeout},
	{"Deadline", func(here, _ end) { here.SetReadDeadline(time.Now().Add(quiet)) }, wantTimeout},
}

func wantTimeout(t *testing.T, _ *network, err error) {
	t.Helper()
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read: %v, want os.ErrDeadlineExceeded", err)
	}
}

// testWaitRead tests streams that are Waiters: WaitRead returns when Read would, with the
// error that Read would return, whether it is called before or after the event.
func testWaitRead(t *testing.T, n *network) {
	eitherEnd(t, n, "a transport.Waiter", func(s transport.Stream) bool { _, ok := transport.As[transport.Waiter](s); return ok }, func(t *testing.T, name string) {
		for _, what := range append(deadlines, events...) {
			for _, order := range []string{"Waiting", "Late"} {
				t.Run(what.name+"/"+order, func(t *testing.T) {
					here, there := n.pair(t).ends(name)
					var waiting <-chan error
					if order == "Waiting" {
						waiting = waits(t, here)
						what.happen(here, there)
					} else {
						what.happen(here, there)
						waiting = async(waiter(here).WaitRead)
					}
					err := awaitFor(t, maxWait, "WaitRead", waiting)
					if what.check == nil {
						if err != nil {
							t.Errorf("WaitRead: %v", err)
						}
						wantMessage(t, here)
						return
					}
					readErr := await(t, "Read", async(func() error { return readOne(here) }))
					what.check(t, n, readErr)
					if err == nil && readErr == io.EOF {
						return // WaitRead may leave EOF to Read
					}
					if err == nil || readErr == nil || err.Error() != readErr.Error() {
						t.Errorf("WaitRead fails with %v, and Read with %v", err, readErr)
					}
				})
			}
		}
		t.Run("TakesNothing", func(t *testing.T) {
			here, there := n.pair(t).ends(name)
			there.Write(message)
			there.CloseWrite()
			for range 3 {
				if err := awaitFor(t, maxWait, "WaitRead", async(waiter(here).WaitRead)); err != nil {
					t.Fatalf("WaitRead: %v", err)
				}
			}
			wantMessage(t, here)
			if err := awaitFor(t, maxWait, "WaitRead", async(waiter(here).WaitRead)); err != nil && err != io.EOF {
				t.Errorf("WaitRead at the end: %v", err)
			}
			wantEOF(t, n, readOne(here))
		})
		t.Run("BesideRead", func(t *testing.T) {
			here, there := n.pair(t).ends(name)
			waiting := waits(t, here)
			reading := async(func() error { return readOne(here) })
			there.Write([]byte{1})
			if err := awaitFor(t, maxWait, "Read", reading); err != nil {
				t.Errorf("Read: %v", err)
			}
			here.Close() // in case Read was faster
			if err := await(t, "WaitRead", waiting); err != nil {
				wantLocal(t, "WaitRead", err)
			}
		})
	})
}

// eitherEnd runs f for each end whose streams satisfy are.
func eitherEnd(t *testing.T, n *network, what string, are func(transport.Stream) bool, f func(t *testing.T, name string)) {
	p := n.pair(t)
	any := false
	for _, name := range []string{"Opener", "Acceptor"} {
		if here, _ := p.ends(name); are(here.Stream) {
			any = true
			t.Run(name, func(t *testing.T) { f(t, name) })
		}
	}
	if !any {
		t.Skip("no end of its streams is ", what)
	}
}

func waiter(s end) transport.Waiter {
	w, _ := transport.As[transport.Waiter](s.Stream)
	return w
}

// waits starts a WaitRead that blocks, and returns a channel with its error.
func waits(t *testing.T, s end) <-chan error {
	t.Helper()
	waiting := async(waiter(s).WaitRead)
	select {
	case err := <-waiting:
		t.Fatalf("WaitRead with nothing to read: %v", err)
	case <-time.After(quiet):
	}
	return waiting
}

func wantMessage(t *testing.T, r io.Reader) {
	t.Helper()
	got := make([]byte, len(message))
	if n, err := io.ReadFull(r, got); !bytes.Equal(got, message) {
		t.Errorf("read %d bytes, %v", n, err)
	}
}
