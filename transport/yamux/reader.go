package yamux

import "io"

// A reader makes headers and bodies of the bytes that come in.
type reader struct {
	conn  io.Reader
	err   error            // of conn, to be returned when all that came before is taken
	block *[blockSize]byte // nil while the connection is idle
	rest  []byte           // what is left of the block
	full  bool             // the last Read of conn got as much as it could
	head  [headerSize]byte
	nhead int // how much of the header has come in
}

// fill reads from conn when nothing is left. It waits in p, so that an idle
// session holds no block.
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

// header reports whether head is complete. The next call is for the next one.
func (r *reader) header() bool {
	n := copy(r.head[r.nhead:], r.rest)
	r.rest = r.rest[n:]
	r.nhead = (r.nhead + n) % headerSize
	return r.nhead == 0 && n > 0
}

// body returns what has come in of the next n bytes.
func (r *reader) body(n uint32) []byte {
	p := r.rest[:min(int64(n), int64(len(r.rest)))]
	r.rest = r.rest[len(p):]
	return p
}
