package yamux

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
	"time"

	"github.com/livenet/livenet/transport"
)

// canned is a connection with something to read.
type canned struct {
	transport.Stream
	io.Reader
}

func (c canned) Read(p []byte) (int, error)      { return c.Reader.Read(p) }
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

// However the bytes come in, yamux gets them unchanged.
func TestWireTransparent(t *testing.T) {
	want := frames(200, rand.New(rand.NewPCG(1, 2)))
	for name, cut := range readers {
		t.Run(name, func(t *testing.T) {
			got, err := io.ReadAll(cannedWire(cut(bytes.NewReader(want))))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
			}
		})
	}
}

// What is sent to a stream that lingers is dropped, whatever comes around it.
// The flags are kept, for yamux waits for them.
func TestWireDrops(t *testing.T) {
	data := func(id uint32, flags uint16, body string) []byte {
		return append(newHeader(typeData, flags, id, uint32(len(body))), body...)
	}
	in := bytes.Join([][]byte{
		data(1, 0, "dropped"), data(3, 0, "kept"), data(1, 0, ""), data(1, flagFIN, "dropped, with a flag"), data(3, 0, "kept"),
	}, nil)
	want := bytes.Join([][]byte{
		data(3, 0, "kept"), data(1, 0, ""), data(1, flagFIN, ""), data(3, 0, "kept"),
	}, nil)
	for name, cut := range readers {
		t.Run(name, func(t *testing.T) {
			w := cannedWire(cut(bytes.NewReader(in)))
			for _, id := range []uint32{1, 3} {
				w.table.opening <- struct{}{}
				w.table.sent(newHeader(typeWindowUpdate, flagSYN, id, 0))
			}
			w.table.linger(1)
			if got, err := io.ReadAll(w); err != nil || !bytes.Equal(got, want) {
				t.Errorf("got  %x, %v\nwant %x", got, err, want)
			}
		})
	}
}

// A reset of ours is told to yamux between two frames, never within one, and
// answers for the peer if it has not.
func TestWireTells(t *testing.T) {
	first := append(newHeader(typeData, 0, 2, 10), "0123456789"...)
	second := newHeader(typeWindowUpdate, 0, 2, 1)
	for at := range len(first) + 1 {
		early, late := append(append([]byte(nil), first...), second...)[:at], append(append([]byte(nil), first...), second...)[at:]
		w := cannedWire(io.MultiReader(bytes.NewReader(early), bytes.NewReader(late)))
		w.table.opening <- struct{}{}
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

		told := newHeader(typeWindowUpdate, flagRST|flagACK, 1, 0)
		want := append(append(append([]byte(nil), first...), told...), second...)
		if at < headerSize {
			want = append(append(append([]byte(nil), told...), first...), second...)
		}
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("after %d bytes:\ngot  %x, %v\nwant %x", at, got, err, want)
		}
		if len(w.table.opening) != 0 || len(w.table.streams) != 0 {
			t.Errorf("after %d bytes: the stream is not forgotten", at)
		}
	}
}

// Whatever comes in, in whatever pieces, neither panics nor makes more of it.
func FuzzWire(f *testing.F) {
	f.Add(frames(10, rand.New(rand.NewPCG(1, 2))), 7)
	f.Add([]byte(newHeader(typePing, flagSYN, 0, 1)), 1)
	f.Add([]byte(goAwayFrame(5)), 100)
	f.Add([]byte(append(newHeader(typeData, flagSYN|flagFIN, 2, 1<<32-1), "short"...)), 3)
	f.Fuzz(func(t *testing.T, in []byte, size int) {
		w := cannedWire(&pieces{in, 1 + size&0xff})
		w.table.opening <- struct{}{}
		w.table.sent(newHeader(typeWindowUpdate, flagSYN, 1, 0))
		w.table.linger(1)
		got, _ := io.ReadAll(w)
		if len(got) > len(in)+headerSize { // the one stream may be reset
			t.Errorf("%d bytes came out of %d", len(got), len(in))
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
