package yamux

import (
	"bytes"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"github.com/livenet/livenet/transport"
)

// canned is a connection with something to read, and nobody to write to.
type canned struct {
	transport.Stream
	io.Reader
}

func (c canned) Read(p []byte) (int, error)      { return c.Reader.Read(p) }
func (c canned) Write(p []byte) (int, error)     { return len(p), nil }
func (c canned) SetReadDeadline(time.Time) error { return nil } // Read never waits

func cannedWire(r io.Reader) *wire { return newWire(canned{Reader: r}, client.parity) }

// frames are n frames that the server may send, one after the other.
func frames(n int, rng *rand.Rand) []byte {
	var all []byte
	for range n {
		id := 2 * (1 + rng.Uint32N(4))
		switch rng.IntN(4) {
		case 0:
			all = append(all, newHeader(typeWindowUpdate, 0, id, rng.Uint32())...)
		case 1:
			all = append(all, newHeader(typePing, flagACK, 0, rng.Uint32())...)
		default:
			size := rng.Uint32N(5000)
			all = append(all, newHeader(typeData, 0, id, size)...)
			all = append(all, make([]byte, size)...)
		}
	}
	return all
}

// readers cut a stream of bytes in different ways.
var readers = map[string]func(io.Reader) io.Reader{
	"as it comes":  func(r io.Reader) io.Reader { return r },
	"byte by byte": iotest.OneByteReader,
	"by halves":    iotest.HalfReader,
	"with EOF":     iotest.DataErrReader,
}

// However the bytes come in, they say the same to yamux.
func TestWireTransparent(t *testing.T) {
	want := frames(40, rand.New(rand.NewPCG(1, 2)))
	for name, cut := range readers {
		t.Run(name, func(t *testing.T) {
			got, err := io.ReadAll(cannedWire(cut(bytes.NewReader(want))))
			if err != nil || saidAll(t, got) != saidAll(t, want) {
				t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
			}
		})
	}
}

// What is sent to a stream that lingers is dropped, whatever comes around it.
// The flags are kept, for yamux waits for them.
func TestWireDrops(t *testing.T) {
	in := bytes.Join([][]byte{
		dataFrame(0, 1, "dropped"), dataFrame(0, 3, "kept"), dataFrame(0, 1, ""),
		dataFrame(flagFIN, 1, "dropped, with a flag"), dataFrame(0, 3, "kept"),
	}, nil)
	want := bytes.Join([][]byte{
		dataFrame(0, 3, "kept"), dataFrame(0, 1, ""), dataFrame(flagFIN, 1, ""), dataFrame(0, 3, "kept"),
	}, nil)
	for name, cut := range readers {
		t.Run(name, func(t *testing.T) {
			w := cannedWire(cut(bytes.NewReader(in)))
			for _, id := range []uint32{1, 3} {
				w.table.opening() <- struct{}{}
				w.table.sent(newHeader(typeWindowUpdate, flagSYN, id, 0))
			}
			w.table.linger(1)
			got, err := io.ReadAll(w)
			if got, want := saidAll(t, got), saidAll(t, want); err != nil || got != want {
				t.Errorf("got  %s, %v\nwant %s", got, err, want)
			}
		})
	}
}

// What is sent to a stream is dropped from the moment it lingers, be that in the
// middle of a frame.
func TestWireDropsRest(t *testing.T) {
	in := append(dataFrame(flagFIN, 1, "kept and dropped"), dataFrame(0, 3, "kept")...)
	const cut = headerSize + len("kept")
	var w *wire
	w = cannedWire(&watched{Reader: io.MultiReader(bytes.NewReader(in[:cut]), bytes.NewReader(in[cut:])), look: func(came []byte) {
		if len(came) == cut {
			w.table.linger(1)
		}
	}})
	w.table.opening() <- struct{}{}
	w.table.sent(newHeader(typeWindowUpdate, flagSYN, 1, 0))
	got, err := io.ReadAll(w)
	want := bytes.Join([][]byte{dataFrame(0, 1, "kept"), dataFrame(flagFIN, 1, ""), dataFrame(0, 3, "kept")}, nil)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got  %q, %v\nwant %q", got, err, want)
	}
	if unheard := w.table.streams[1].unheard; unheard != uint32(len(" and dropped")) {
		t.Errorf("%d bytes went unheard", unheard)
	}
}

// A reset of ours is told to yamux between two frames, or pieces of one, never
// within, and answers for the peer if it has not.
func TestWireTells(t *testing.T) {
	frame := dataFrame(0, 2, "0123456789")
	second := newHeader(typeWindowUpdate, 0, 2, 1)
	in := append(slices.Clone(frame), second...)
	for at := range len(frame) + 1 {
		w := cannedWire(io.MultiReader(bytes.NewReader(in[:at]), bytes.NewReader(in[at:])))
		w.table.opening() <- struct{}{}
		w.table.sent(newHeader(typeWindowUpdate, flagSYN, 1, 0))

		var got []byte
		p := make([]byte, 4096)
		if at >= headerSize { // less than that is held back, and Read would go on
			n, _ := w.Read(p)
			got = append(got, p[:n]...)
		}
		w.reset(1, 9)
		rest, err := io.ReadAll(w)
		got = append(got, rest...)

		body := frame[headerSize:]
		early := body[:max(0, at-headerSize)]
		want := slices.Concat(dataFrame(0, 2, string(early)),
			newHeader(typeWindowUpdate, flagRST|flagACK, 1, 0),
			dataFrame(0, 2, string(body[len(early):])), second)
		if got, want := saidAll(t, got), saidAll(t, want); err != nil || got != want {
			t.Errorf("after %d bytes:\ngot  %s, %v\nwant %s", at, got, err, want)
		}
		if len(w.table.tokens) != 0 || len(w.table.streams) != 0 {
			t.Errorf("after %d bytes: the stream is not forgotten", at)
		}
	}
}

// Whatever comes in, in whatever pieces, neither panics nor makes yamux wait for
// the rest of a frame.
func FuzzWire(f *testing.F) {
	f.Add(frames(10, rand.New(rand.NewPCG(1, 2))), 7)
	f.Add([]byte(newHeader(typePing, flagSYN, 0, 1)), 1)
	f.Add([]byte(goAwayFrame(5)), 100)
	f.Add([]byte(append(newHeader(typeData, flagSYN|flagFIN, 2, 1<<32-1), "short"...)), 3)
	f.Add(dataFrame(flagSYN|flagFIN, 2, "all at once"), 4)
	f.Add(dataFrame(flagACK|flagRST, 1, "to no end"), 4)
	f.Fuzz(func(t *testing.T, in []byte, size int) {
		var got []byte
		reads := 0
		w := cannedWire(&watched{Reader: &pieces{in, 1 + size&0xff}, look: func([]byte) {
			if _, whole := said(got); whole != len(got) {
				t.Errorf("yamux waits for the rest of a frame, of which it has %d bytes", len(got)-whole)
			}
			got = got[:0]
			reads++
		}})
		w.table.opening() <- struct{}{}
		w.table.sent(newHeader(typeWindowUpdate, flagSYN, 1, 0))
		w.table.linger(1)
		p := make([]byte, 4096)
		for total := 0; ; {
			n, err := w.Read(p)
			got = append(got, p[:n]...)
			total += n
			// Each Read of the connection may cut a frame, each FIN comes to have a
			// header of its own, and the one stream may be reset.
			if limit := len(in) + (reads+len(in)/headerSize+1)*headerSize; total > limit {
				t.Fatalf("%d bytes came out of %d", total, len(in))
			}
			if err != nil {
				return
			}
		}
	})
}

// pieces are read size bytes at a time.
type pieces struct {
	left []byte
	size int
}

func (r *pieces) Read(p []byte) (int, error) {
	if len(r.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(r.size, len(p))], r.left)
	r.left = r.left[n:]
	return n, nil
}
