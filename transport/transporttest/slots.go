package transporttest

import (
	"fmt"
	"io"
	"testing"

	"github.com/livenet/livenet/transport"
)

// testSlots ends stream after stream in the same way, many more than a session
// may have at once. Where a session is one stream, it ends sessions.
func testSlots(t *testing.T, n *network) {
	for _, way := range []struct {
		name string
		end  func(opened, accepted transport.Stream) error
	}{
		{"CloseBoth", func(opened, accepted transport.Stream) error {
			return closeBoth(opened, accepted)
		}},
		{"CloseWriteAndEOF", func(opened, accepted transport.Stream) error {
			for _, st := range []transport.Stream{opened, accepted} {
				if err := st.CloseWrite(); err != nil {
					return fmt.Errorf("CloseWrite: %w", err)
				}
			}
			for _, st := range []transport.Stream{accepted, opened} {
				if _, err := io.Copy(io.Discard, st); err != nil {
					return fmt.Errorf("reading to EOF: %w", err)
				}
			}
			return nil // without Close
		}},
		{"ResetByOpener", func(opened, accepted transport.Stream) error {
			opened.Reset(1)
			_, err := io.Copy(io.Discard, accepted)
			return reset(n, err, accepted)
		}},
		{"ResetByAcceptor", func(opened, accepted transport.Stream) error {
			accepted.Reset(1)
			_, err := io.Copy(io.Discard, opened)
			return reset(n, err, opened)
		}},
		{"Unread", func(opened, accepted transport.Stream) error {
			for _, st := range []transport.Stream{opened, accepted} {
				if _, err := st.Write(make([]byte, 1<<10)); err != nil {
					return fmt.Errorf("Write: %w", err)
				}
			}
			return closeBoth(opened, accepted)
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			n := n.parallel(t)
			if !n.Multiplexes {
				for i := range 200 {
					p, err := n.connect()
					if err != nil {
						t.Fatalf("session %d: %v", i, err)
					}
					if err := way.end(p.opened, p.accepted); err != nil {
						t.Fatalf("session %d: %v", i, err)
					}
					p.close()
				}
				return
			}
			p := n.pair(t)
			for i := range 1_000 {
				opened, accepted, err := between(p.client, p.server)
				if err != nil {
					t.Fatalf("stream %d: %v", i, err)
				}
				if err := way.end(opened, accepted); err != nil {
					t.Fatalf("stream %d: %v", i, err)
				}
			}
		})
	}
}

func closeBoth(opened, accepted transport.Stream) error {
	for _, st := range []transport.Stream{opened, accepted} {
		if err := st.Close(); err != nil {
			return fmt.Errorf("Close: %w", err)
		}
	}
	return nil
}

// reset checks err, which the end that was reset has read, and closes that end.
func reset(n *network, err error, st transport.Stream) error {
	if n.Resets && err == nil {
		return fmt.Errorf("Read found EOF where there was a reset")
	}
	return st.Close()
}
