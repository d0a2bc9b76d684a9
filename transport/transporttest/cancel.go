package transporttest

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/livenet/livenet/transport"
)

// rounds is how often a race is repeated.
const rounds = 20

// testCancelAccept cancels Accept before it is called, while it waits, and while a session
// arrives. That session must not be lost.
func testCancelAccept(t *testing.T, n *network) {
	testCancelled(t, "Accept", func(ctx context.Context) error {
		s, err := n.listener.Accept(ctx)
		if err == nil {
			s.Close(0, "")
		}
		return err
	})
	t.Run("Racing", func(t *testing.T) {
		for range rounds {
			ctx, cancel := context.WithCancel(t.Context())
			p := new(pair)
			accepting := async(func() (err error) {
				p.server, err = n.listener.Accept(ctx)
				return err
			})
			dialled := async(func() error { return n.dial(t.Context(), p) })
			cancel()
			err := await(t, "Accept", accepting)
			if err != nil {
				wantCancelled(t, "Accept", err)
				if p.server, err = n.listener.Accept(t.Context()); err != nil {
					t.Fatalf("Accept after a cancelled one: %v", err)
				}
			}
			if p.accepted, err = accept(t.Context(), p.server); err != nil {
				t.Fatal(err)
			}
			if err := await(t, "Dial", dialled); err != nil {
				t.Fatal(err)
			}
			p.close()
		}
	})
}

// testCancelAcceptStream is the same for AcceptStream.
func testCancelAcceptStream(t *testing.T, n *network) {
	p := n.pair(t)
	for name, s := range map[string]transport.Session{"Client": p.client, "Server": p.server} {
		testCancelled(t, name, func(ctx context.Context) error {
			_, err := s.AcceptStream(ctx)
			return err
		})
	}
	if !n.Multiplexes {
		return
	}
	t.Run("Racing", func(t *testing.T) {
		for range rounds {
			ctx, cancel := context.WithCancel(t.Context())
			var accepted transport.Stream
			accepting := async(func() (err error) {
				accepted, err = p.server.AcceptStream(ctx)
				return err
			})
			opening := async(func() error {
				opened, err := open(t.Context(), p.client)
				if err == nil {
					err = opened.Close()
				}
				return err
			})
			cancel()
			err := await(t, "AcceptStream", accepting)
			if err != nil {
				wantCancelled(t, "AcceptStream", err)
				if accepted, err = p.server.AcceptStream(t.Context()); err != nil {
					t.Fatalf("AcceptStream after a cancelled one: %v", err)
				}
			}
			if err := await(t, "OpenStream", opening); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(accepted); err != nil || string(got) != string(first) {
				t.Fatalf("read %q, %v", got, err)
			}
			accepted.Close()
		}
	})
}

// testCancelOpenStream opens streams until OpenStream waits, if it ever does, and cancels
// that call.
func testCancelOpenStream(t *testing.T, n *network) {
	p := n.pair(t)
	const enough = 2_000
	for range enough {
		ctx, cancel := context.WithCancel(t.Context())
		opening := async(func() error {
			_, err := p.client.OpenStream(ctx)
			return err
		})
		var err error
		select {
		case err = <-opening:
		case <-time.After(4 * quiet):
			cancel()
			if err = await(t, "OpenStream", opening); err != nil {
				wantCancelled(t, "OpenStream", err)
				return
			}
		}
		cancel()
		if err != nil {
			t.Fatalf("OpenStream: %v", err)
		}
	}
}

// testCancelDial cancels Dial, before and while it dials.
func testCancelDial(t *testing.T, n *network) {
	t.Run("Before", func(t *testing.T) {
		_, err := n.client.Dial(cancelled(), n.addr())
		wantCancelled(t, "Dial", err)
	})
	t.Run("During", func(t *testing.T) {
		for range rounds {
			ctx, cancel := context.WithCancel(t.Context())
			dialling := async(func() error {
				s, err := n.client.Dial(ctx, n.addr())
				if err == nil {
					s.Close(0, "")
				}
				return err
			})
			cancel()
			if err := await(t, "Dial", dialling); err != nil {
				wantCancelled(t, "Dial", err)
			}
		}
	})
	// Some of the cancelled dials may have reached the listener.
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 2*quiet)
		s, err := n.listener.Accept(ctx)
		cancel()
		if err != nil {
			return
		}
		s.Close(0, "")
	}
}

// testCancelled ends the context of a call that would wait for ever.
func testCancelled(t *testing.T, name string, call func(context.Context) error) {
	t.Run(name+"/Before", func(t *testing.T) {
		calling := async(func() error { return call(cancelled()) })
		wantCancelled(t, name, await(t, name, calling))
	})
	t.Run(name+"/During", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		calling := async(func() error { return call(ctx) })
		cancel()
		wantCancelled(t, name, await(t, name, calling))
	})
	t.Run(name+"/Deadline", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		calling := async(func() error { return call(ctx) })
		if err := await(t, name, calling); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v, want context.DeadlineExceeded", name, err)
		}
	})
}

func wantCancelled(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("%s: %v, want context.Canceled", what, err)
	}
}

// testReadyBeatsCancelled calls with a cancelled context when a result is ready: the call
// must return the result. A select that chooses at random would fail half of the time. A
// quarter of the rounds may fail, because the result may not have been ready.
func testReadyBeatsCancelled(t *testing.T, n *network) {
	t.Run("Accept", func(t *testing.T) {
		missed, grace := 0, quiet
		for range rounds {
			p := new(pair)
			dialled := async(func() error { return n.dial(t.Context(), p) })
			// Only Accept shows that a session has arrived, so this waits some time for
			// it, and longer after each miss. Dial may return earlier or later.
			<-time.After(grace)
			var err error
			if p.server, err = n.listener.Accept(cancelled()); err != nil {
				wantCancelled(t, "Accept", err)
				missed, grace = missed+1, 2*grace
				if p.server, err = n.listener.Accept(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if p.accepted, err = accept(t.Context(), p.server); err != nil {
				t.Fatal(err)
			}
			if err := await(t, "Dial", dialled); err != nil {
				t.Fatal(err)
			}
			p.close()
			if missed > rounds/4 {
				t.Fatalf("%d sessions that were there were not accepted", missed)
			}
		}
	})
	t.Run("OpenStream", func(t *testing.T) {
		p := n.pair(t)
		_, err := p.client.OpenStream(cancelled())
		if n.Multiplexes && err != nil {
			t.Errorf("OpenStream: %v, want a stream", err)
		}
		if !n.Multiplexes && !errors.Is(err, transport.ErrSingleStream) {
			t.Errorf("OpenStream: %v, want ErrSingleStream", err)
		}
	})
	t.Run("AcceptStream", func(t *testing.T) {
		if !n.Multiplexes {
			testReadySingle(t, n)
			return
		}
		p := n.pair(t)
		missed := 0
		for range rounds {
			opened, err := open(t.Context(), p.client)
			if err != nil {
				t.Fatal(err)
			}
			echo(t, p.opened, p.accepted) // by now what was sent earlier has arrived, too
			accepted, err := p.server.AcceptStream(cancelled())
			if err != nil {
				wantCancelled(t, "AcceptStream", err)
				missed++
				if accepted, err = p.server.AcceptStream(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			opened.Close()
			accepted.Close()
		}
		if missed > rounds/4 {
			t.Errorf("%d of %d streams that were there were not accepted", missed, rounds)
		}
	})
}

// testReadySingle: the stream of a single-stream session is always ready.
func testReadySingle(t *testing.T, n *network) {
	p := new(pair)
	dialled := async(func() error { return n.dial(t.Context(), p) })
	var err error
	if p.server, err = n.listener.Accept(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p.accepted, err = accept(cancelled(), p.server); err != nil {
		t.Error(err)
	}
	if err := await(t, "Dial", dialled); err != nil {
		t.Fatal(err)
	}
	p.close()
}
