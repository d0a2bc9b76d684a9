package codec_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/livenet/livenet/codec"
)

const chunk = 32 << 10 // bytes of one read

// Decoding is in place, so each round of the other benchmarks has to refill the buffer. This
// measures the refill alone.
func BenchmarkFillOnly(b *testing.B) {
	src, dst := make([]byte, chunk), make([]byte, chunk)
	b.SetBytes(chunk)
	for b.Loop() {
		copy(dst, src)
	}
}

func BenchmarkDecode(b *testing.B) {
	decodeRaw := codec.Raw.Server(codec.Hello{})
	autoRaw := codec.Auto.Server(codec.Hello{})
	autoRaw.Decode([]byte("..hello"), 5)
	b.Run("raw", func(b *testing.B) { benchDecode(b, decodeRaw, make([]byte, chunk)) })
	b.Run("auto-raw", func(b *testing.B) { benchDecode(b, autoRaw, make([]byte, chunk)) })
	for _, size := range []int{16, 64, 1024, 16 << 10} {
		b.Run(fmt.Sprintf("line/%dB", size), func(b *testing.B) {
			line := append(bytes.Repeat([]byte("x"), size-1), '\n')
			benchDecode(b, codec.Line.Server(codec.Hello{}), bytes.Repeat(line, chunk/size))
		})
	}
	for _, size := range []int{16, 64, 1024, 16 << 10} {
		for _, cd := range []codec.Codec{codec.Frame, codec.Auto} {
			b.Run(fmt.Sprintf("%s/%dB", cd.Name(), size), func(b *testing.B) {
				c := cd.Server(codec.Hello{})
				c.Decode(append(make([]byte, c.Headroom()), opening...), len(opening))
				frame := header(codec.Frame.Server(codec.Hello{}), make([]byte, size))[len(hello):]
				frame = append(frame, make([]byte, size)...)
				benchDecode(b, c, bytes.Repeat(frame, chunk/len(frame)))
			})
		}
	}
}

func benchDecode(b *testing.B, c codec.Coder, read []byte) {
	h := c.Headroom()
	p := make([]byte, h+len(read))
	messages := 0
	b.SetBytes(int64(len(read)))
	b.ReportAllocs()
	for b.Loop() {
		copy(p[h:], read)
		_, seen, err := c.Decode(p, len(read))
		if err != nil {
			b.Fatal(err)
		}
		messages += seen.Messages
	}
	if messages > 0 {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(messages), "ns/message")
	}
}

// BenchmarkBeat decodes a beat that is alone in a read, as usual.
func BenchmarkBeat(b *testing.B) {
	for _, tc := range []struct {
		name, beat string
		codec      codec.Codec
	}{
		{"line", "PING\n", codec.Line},
		{"frame", "\x03\x00\x00\x00\x01", codec.Frame},
		{"auto", "\x03\x00\x00\x00\x01", codec.Auto},
	} {
		c := tc.codec.Server(codec.Hello{})
		if tc.codec != codec.Line {
			c.Decode(append(make([]byte, c.Headroom()), opening...), len(opening))
			c.AppendPending(nil)
		}
		h := c.Headroom()
		p, out := make([]byte, h+len(tc.beat)), make([]byte, 0, 16)
		b.Run(tc.name+"/heard", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				copy(p[h:], tc.beat)
				c.Decode(p, len(tc.beat))
			}
		})
		b.Run(tc.name+"/heard-and-answered", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				copy(p[h:], tc.beat)
				c.Decode(p, len(tc.beat))
				if c.Pending() {
					out = c.AppendPending(out[:0])
				}
			}
		})
		b.Run(tc.name+"/asked", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				out, _ = c.AppendPing(out[:0], 1)
			}
		})
	}
}
