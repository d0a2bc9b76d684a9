package transporttest

import (
	"context"
	"io"
	"testing"

	"github.com/livenet/livenet/transport"
)

// testSessionClose closes a session with a code and a text, and checks the causes at both
// ends.
func testSessionClose(t *testing.T, n *network) {
	const code, text = 7, "go away"
	for _, end := range []string{"Client", "Server"} {
		t.Run(end, func(t *testing.T) {
			p := n.pair(t)
			here, there, stream := p.client, p.server, p.accepted
			if end == "Server" {
				here, there, stream = there, here, p.opened
			}
			reading := read(t, stream)
			if err := here.Close(code, text); err != nil {
				t.Errorf("Close: %v", err)
			}
			here.Close(code+1, "too late")

			ce := ended(t, here)
			if ce.Origin != transport.Local || ce.Reset || !ce.HasCode || ce.Code != code || ce.Text != text {
				t.Errorf("cause here: %+v, want code %d, text %q, by this end", ce, code, text)
			}
			_, err := here.OpenStream(t.Context())
			wantLocal(t, "OpenStream after Close", err)
			_, err = here.AcceptStream(t.Context())
			wantLocal(t, "AcceptStream after Close", err)

			err = await(t, "Read there", reading)
			if !n.Multiplexes {
				// The peer of a single stream sees only EOF.
				if err != io.EOF {
					t.Errorf("Read there: %v, want EOF", err)
				}
				if there.Context().Err() != nil {
					t.Errorf("the session there ended with the peer's direction: %v", ended(t, there))
				}
				return
			}
			for what, ce := range map[string]*transport.CloseError{
				"cause there": ended(t, there),
				"Read there":  closeError(t, err),
			} {
				if ce.Origin != transport.Peer {
					t.Errorf("%s: %+v, want it to come from the peer", what, ce)
				}
				if n.SessionCodes && (!ce.HasCode || ce.Code != code || ce.Text != text) {
					t.Errorf("%s: %+v, want code %d, text %q", what, ce, code, text)
				}
			}
		})
	}
}

// testSessionCloseEndsStreams has readers blocked in every stream of a session
// at both ends when it closes.
func testSessionCloseEndsStreams(t *testing.T, n *network) {
	p := n.pair(t)
	local, remote := []transport.Stream{p.opened}, []transport.Stream{p.accepted}
	if n.Multiplexes {
		for i := range 10 {
			from, to := p.client, p.server
			if i%2 == 1 {
				from, to = to, from
			}
			a, b, err := between(from, to)
			if err != nil {
				t.Fatal(err)
			}
			if i%2 == 1 {
				a, b = b, a
			}
			local, remote = append(local, a), append(remote, b)
		}
	}
	var here, there []<-chan error
	for i := range local {
		here = append(here, async(func() error { return readOne(local[i]) }))
		there = append(there, async(func() error { return readOne(remote[i]) }))
	}
	p.client.Close(0, "")
	for i := range local {
		wantLocal(t, "Read here", await(t, "Read here", here[i]))
		_, err := local[i].Write([]byte{0})
		wantLocal(t, "Write here", err)

		err = await(t, "Read there", there[i])
		if n.Multiplexes {
			if ce := closeError(t, err); ce.Origin != transport.Peer {
				t.Errorf("Read there: %v, want it to come from the peer", err)
			}
		} else if err != io.EOF {
			t.Errorf("Read there: %v, want EOF", err)
		}
	}
}

// testUnblocks checks that each way to end a stream at this end unblocks its calls.
func testUnblocks(t *testing.T, n *network) {
	for _, op := range []struct {
		name  string
		block func(*testing.T, transport.Stream) <-chan error
	}{
		{"Read", read},
		{"Write", func(_ *testing.T, st transport.Stream) <-chan error { return stall(st) }},
	} {
		for _, by := range []struct {
			name string
			end  func(*pair)
		}{
			{"Close", func(p *pair) { p.opened.Close() }},
			{"Reset", func(p *pair) { p.opened.Reset(1) }},
			{"SessionClose", func(p *pair) { p.client.Close(1, "") }},
		} {
			t.Run(op.name+"/"+by.name, func(t *testing.T) {
				p := n.pair(t)
				blocked := op.block(t, p.opened)
				end := async(func() error { by.end(p); return nil })
				wantLocal(t, op.name, await(t, op.name, blocked))
				await(t, by.name, end)
			})
		}
	}
}

// testPeerVanishes blocks a Write on a peer that does not read and then closes.
func testPeerVanishes(t *testing.T, n *network) {
	for _, by := range []struct {
		name string
		end  func(*pair)
	}{
		{"Close", func(p *pair) { p.accepted.Close() }},
		{"Reset", func(p *pair) { p.accepted.Reset(1) }},
		{"SessionClose", func(p *pair) { p.server.Close(1, "") }},
	} {
		t.Run(by.name, func(t *testing.T) {
			p := n.pair(t)
			blocked := stall(p.opened)
			by.end(p)
			err := awaitFor(t, maxWait, "Write", blocked)
			if ce := closeError(t, err); ce.Origin != transport.Peer {
				t.Errorf("Write: %v, want it to come from the peer", err)
			}
		})
	}
}

// testListenerClose closes a listener during Accept. A session accepted before goes on.
func testListenerClose(t *testing.T, n *network) {
	p := n.pair(t)
	accepting := async(func() error {
		_, err := n.listener.Accept(context.Background())
		return err
	})
	if err := n.listener.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	wantLocal(t, "Accept", await(t, "Accept", accepting))
	_, err := n.listener.Accept(t.Context())
	wantLocal(t, "Accept after Close", err)
	_, err = n.listener.Accept(cancelled())
	wantLocal(t, "Accept after Close, with a cancelled context", err)
	echo(t, p.opened, p.accepted)
}

// testIdempotent ends everything more than once, from many goroutines.
func testIdempotent(t *testing.T, n *network) {
	const times = 8
	t.Run("Stream", func(t *testing.T) {
		p := n.pair(t)
		parallel(times, func(int) {
			if err := p.opened.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
		parallel(times, func(i int) {
			switch i % 3 {
			case 0:
				p.accepted.Reset(uint64(i))
			case 1:
				p.accepted.CloseWrite()
			case 2:
				if err := p.accepted.Close(); err != nil {
					t.Errorf("Close beside Reset: %v", err)
				}
			}
		})
		wantLocal(t, "Read", readOne(p.accepted))
	})
	t.Run("Session", func(t *testing.T) {
		p := n.pair(t)
		parallel(times, func(i int) {
			if err := p.client.Close(uint64(i), ""); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
		first := ended(t, p.client)
		parallel(times, func(i int) {
			if err := p.client.Close(times, ""); err != nil {
				t.Errorf("Close again: %v", err)
			}
			p.opened.Reset(times)
			if err := p.opened.Close(); err != nil {
				t.Errorf("Close of a stream of a closed session: %v", err)
			}
		})
		if last := ended(t, p.client); last != first {
			t.Errorf("the cause changed from %v to %v", first, last)
		}
	})
	t.Run("Listener", func(t *testing.T) {
		parallel(times, func(int) {
			if err := n.listener.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
		if err := n.listener.Close(); err != nil {
			t.Errorf("Close again: %v", err)
		}
	})
}
