package transporttest

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/livenet/livenet/transport"
)

// testPoliteEnd ends a stream to a peer that reads slowly, and sends all the time. What
// was written arrives whole. A session of one stream has only one way to do that: to
// end its own direction, and to read until the peer has ended its own.
func testPoliteEnd(t *testing.T, n *network) {
	for _, by := range []struct {
		name string
		end  func(transport.Stream) error
		only bool
	}{
		{"CloseWrite", func(st transport.Stream) error {
			if err := st.CloseWrite(); err != nil {
				return err
			}
			if _, err := io.Copy(io.Discard, st); err != nil {
				return err
			}
			return st.Close()
		}, true},
		{"Close", transport.Stream.Close, n.Multiplexes},
	} {
		if !by.only {
			continue
		}
		for _, name := range []string{"Opener", "Acceptor"} {
			t.Run(by.name+"/"+name, func(t *testing.T) {
				here, there := n.pair(t).ends(name)
				body := randomBytes(2 << 20)
				sent := async(func() error {
					if _, err := here.Write(body); err != nil {
						return err
					}
					return by.end(here.Stream)
				})
				done := make(chan struct{})
				sending := async(func() (err error) {
					for p := make([]byte, 16<<10); err == nil; _, err = there.Write(p) {
						select {
						case <-done:
							return there.CloseWrite()
						default:
						}
					}
					return err
				})
				got, err := io.ReadAll(slowReader{there})
				if err != nil || !bytes.Equal(got, body) {
					t.Errorf("%d bytes of %d arrive, then %v", len(got), len(body), err)
				}
				close(done)
				if err := await(t, "Write", sending); err != nil && by.name == "CloseWrite" {
					t.Errorf("Write there: %v", err)
				}
				if err := await(t, by.name, sent); err != nil {
					t.Errorf("Write and %s: %v", by.name, err)
				}
			})
		}
	}
}

// A slowReader is slower than any link that this is tested on.
type slowReader struct{ io.Reader }

func (r slowReader) Read(p []byte) (int, error) {
	<-time.After(quiet / 2)
	return r.Reader.Read(p[:min(len(p), 64<<10)])
}

// testResetDrops resets a stream whose peer reads nothing, while a Write is blocked.
// What was queued is dropped at once, in the kernel, too; and when the peer reads, it
// comes to a reset, and not to an EOF that would make a whole of the half.
func testResetDrops(t *testing.T, n *network) {
	const code = 9
	for _, name := range []string{"Opener", "Acceptor"} {
		t.Run(name, func(t *testing.T) {
			here, there := n.pair(t).ends(name)
			stuck := stall(here)
			here.Reset(code)
			wantLocal(t, "Write", await(t, "Write", stuck))
			if n.Resets {
				n.checkKernel(t)
				err := awaitFor(t, maxWait, "Read there", async(func() error {
					_, err := io.Copy(io.Discard, there)
					return err
				}))
				wantReset(t, n, "Read there", err, code)
			}
		})
	}
}
