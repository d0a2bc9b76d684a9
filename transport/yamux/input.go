package yamux

import (
	"slices"
	"sync"
)

// blockSize is how much is read from the connection at once, and the largest
// segment of a stream's input.
const blockSize = 32 << 10

// blocks is shared, so that idle sessions and streams hold no input buffers.
var blocks = sync.Pool{New: func() any { return new([blockSize]byte) }}

// An input is a stream's unread input. It takes little more memory than there are bytes in
// it, and none when it is empty.
type input struct {
	segments [][]byte
	off      int // bytes of the first segment that were read
	unread   int // bytes
	held     int // bytes of memory: the capacity of the segments
}

// add appends p, of at most blockSize bytes, and returns how much memory it allocated.
func (in *input) add(p []byte) (took int) {
	in.unread += len(p)
	size := len(p)
	if n := len(in.segments); n > 0 {
		last := in.segments[n-1]
		room := min(len(p), cap(last)-len(last))
		in.segments[n-1] = append(last, p[:room]...)
		p = p[room:]
		size = max(len(p), min(2*cap(last), blockSize)) // small frames share a segment
	}
	if len(p) == 0 {
		return 0
	}
	var s []byte
	if size > blockSize/4 {
		s = blocks.Get().(*[blockSize]byte)[:0]
	} else {
		s = make([]byte, 0, size)
	}
	in.segments = append(in.segments, append(s, p...))
	in.held += cap(s)
	return cap(s)
}

// read copies input to p. It returns the number of bytes and how much memory it freed.
func (in *input) read(p []byte) (n, freed int) {
	for n < len(p) && in.unread > 0 {
		s := in.segments[0]
		m := copy(p[n:], s[in.off:])
		n, in.off, in.unread = n+m, in.off+m, in.unread-m
		if in.off < len(s) {
			break
		}
		if cap(s) == blockSize {
			blocks.Put((*[blockSize]byte)(s[:blockSize]))
		}
		in.segments, in.off = slices.Delete(in.segments, 0, 1), 0
		in.held, freed = in.held-cap(s), freed+cap(s)
	}
	return n, freed
}
