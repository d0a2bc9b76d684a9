package yamux

import "io"

// A reader splits the input into headers and bodies.
type reader struct {
	conn  io.Reader
	err   error            // of conn.Read, returned when all input before it has been processed
	block *[blockSize]byte // nil while the connection is idle
	rest  []byte           // unprocessed input in block
	full  bool             // the last conn.Read filled its buffer
	head  [headerSize]byte
	nhead int // bytes of head that have come in
}

// fill reads from conn when rest is empty. While it blocks it reads into p, which is the
// library's buffer, so that an idle session holds no block.
func (r *reader) fill(p []byte) error {
	if r.err != nil {
		return r.err
	}
	space := p[:min(len(p), blockSize)]
	if r.full {
		space = r.block[:]
	} else if r.block != nil {
		blocks.Put(r.block)
		r.block = nil
	}
	n, err := r.conn.Read(space)
	if n > 0 && r.block == nil {
		r.block = blocks.Get().(*[blockSize]byte)
		copy(r.block[:], space[:n])
	}
	if r.err, r.full = err, n == len(space); n > 0 {
		r.rest = r.block[:n]
	}
	return nil
}

// header fills head, and reports whether it is complete. If so, the next call begins the
// next header.
func (r *reader) header() bool {
	n := copy(r.head[r.nhead:], r.rest)
	r.rest = r.rest[n:]
	r.nhead = (r.nhead + n) % headerSize
	return r.nhead == 0 && n > 0
}

// body returns those of the next n bytes that have come in.
func (r *reader) body(n uint32) []byte {
	p := r.rest[:min(int64(n), int64(len(r.rest)))]
	r.rest = r.rest[len(p):]
	return p
}
