package codec_test

import (
	"testing"

	"github.com/livenet/livenet/codec"
)

// steady is a Coder after its Hello, and the input that it reads repeatedly.
type steady struct {
	name  string
	coder codec.Coder
	read  []byte
	beats int // in it
}

func steadyCases() []steady {
	framed := func(cd codec.Codec) codec.Coder {
		c := cd.Server(codec.Hello{})
		h := c.Headroom()
		c.Decode(append(make([]byte, h), opening...), len(opening))
		c.AppendPending(nil)
		return c
	}
	undetected := codec.Auto.Server(codec.Hello{})
	undetected.Decode([]byte("..hello"), 5)
	kilobyte := make([]byte, 1024)
	return []steady{
		{"raw", codec.Raw.Server(codec.Hello{}), kilobyte, 0},
		{"auto is raw", undetected, kilobyte, 0},
		{"line", codec.Line.Server(codec.Hello{}), []byte("hello, world\nPIN and PONG\n"), 0},
		{"line beats", codec.Line.Server(codec.Hello{}), []byte("PING\nPONG\n"), 2},
		{"line cut in a beat", codec.Line.Server(codec.Hello{}), []byte("G\nPIN"), 1},
		{"frame data", framed(codec.Frame), append([]byte{2, 0x80, 0x08}, kilobyte...), 0},
		{"frame ping", framed(codec.Frame), []byte("\x03\x00\x00\x00\x01"), 1},
		{"frame pong", framed(codec.Frame), []byte("\x04\x00\x00\x00\x01"), 1},
		{"auto is frame", framed(codec.Auto), []byte("\x02\x01a\x03\x00\x00\x00\x01"), 1},
	}
}

// Once a stream is open, reading and writing allocate nothing.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	for _, s := range steadyCases() {
		h := s.coder.Headroom()
		b := make([]byte, h+len(s.read))
		out := make([]byte, 0, 64)
		payload := []byte("hello\n")
		allocs := testing.AllocsPerRun(100, func() {
			copy(b[h:], s.read)
			if _, _, err := s.coder.Decode(b, len(s.read)); err != nil {
				t.Fatal(err)
			}
			out = s.coder.AppendPending(out[:0])
			out = s.coder.AppendDataHeader(out, payload)
			out, _ = s.coder.AppendPing(out, 1)
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations", s.name, allocs)
		}
	}
}
