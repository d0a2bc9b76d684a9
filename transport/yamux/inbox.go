package yamux

import "sync"

// inboxSize is how much is read from the connection at once while more comes
// in than yamux asks for.
const inboxSize = 32 << 10

// inboxes lets sessions to which nothing comes hold no memory for it.
var inboxes = sync.Pool{New: func() any { return new([inboxSize]byte) }}

// An inbox makes of the bytes that come in what yamux is to read. It is
// passive, and belongs to whoever reads.
//
// yamux takes a header for a promise: it holds the lock of the stream until it
// has the body, and what the stream does meanwhile (AcceptStream, Read, Close)
// waits for that lock, whatever its deadline. A peer could take his time. So a
// Data frame is given to yamux in pieces, each with a header that announces no
// more than has come in: to yamux, a frame is whole as soon as it begins. The
// sizes add up to the frame's, and so does what yamux counts of the window.
type inbox struct {
	// receive looks at a header before yamux does: first at the frame's own, then
	// before each piece at one for what is left of the body, and last at one for
	// FIN. Drop says that the body is for nobody.
	receive func(header) (drop bool, err error)

	// announced is told of each piece, after receive.
	announced func(n int)

	err error // to be returned when all else is read

	// What came in and was not looked at yet lies in buf, which is there only
	// as long as it is of use.
	buf  *[inboxSize]byte
	rest []byte
	full bool // the last Read of the connection got as much as it could

	// opened is how many streams yamux is given that it has to queue. What follows
	// waits while there are as many as it has room for.
	opened int

	// The frame that it is in the middle of.
	head     [headerSize]byte
	nhead    int    // how much of the header has come in, if it is not whole
	body     uint32 // bytes that have not been announced to yamux
	dropping bool   // nor will be
	fin      bool   // yamux is to be told of the stream's end after them

	// What yamux is to read now.
	words []byte // a header, or several
	piece int    // how many bytes of rest follow
}

// space is where to read from the connection to, when there is nothing left
// here. That is p, which is to be read to later, as long as p suffices: then
// one who waits for something to come holds no memory but p.
func (b *inbox) space(p []byte) []byte {
	if b.full {
		return b.buf[:]
	}
	if b.buf != nil {
		inboxes.Put(b.buf)
		b.buf = nil
	}
	return p[:min(len(p), inboxSize)]
}

// fill takes what was read to the space.
func (b *inbox) fill(space []byte, n int) {
	b.full = n == len(space)
	if b.buf == nil {
		b.buf = inboxes.Get().(*[inboxSize]byte)
		copy(b.buf[:], space[:n])
	}
	b.rest = b.buf[:n]
}

// read gives yamux all that there is, or as much as p has room for. What does
// not fit is here for the next read.
func (b *inbox) read(p []byte) (n int) {
	for n < len(p) {
		switch {
		case len(b.words) > 0:
			m := copy(p[n:], b.words)
			b.words = b.words[m:]
			n += m
		case b.piece > 0:
			m := copy(p[n:], b.rest[:b.piece])
			b.rest = b.rest[m:]
			b.piece -= m
			n += m
		default:
			if !b.next() {
				return n
			}
		}
	}
	return n
}

// between reports whether what yamux has read ends where a frame ends, in its
// view of frames.
func (b *inbox) between() bool { return len(b.words) == 0 && b.piece == 0 }

// insert puts in a frame of our own. It may be called between two others only,
// when words that lay in head have no room behind them for append to overwrite.
func (b *inbox) insert(h header) { b.words = append(b.words, h...) }

// next prepares what yamux is to read next, if that is here.
func (b *inbox) next() bool {
	for b.between() {
		switch {
		case b.body > 0 && len(b.rest) == 0:
			return false
		case b.body > 0:
			b.proceed()
		case b.fin:
			b.finish()
		default:
			m := copy(b.head[b.nhead:], b.rest)
			b.rest = b.rest[m:]
			if b.nhead += m; b.nhead < headerSize || b.opened == serverBacklog && header(b.head[:]).opens() {
				return false
			}
			b.nhead = 0
			b.begin()
		}
	}
	return true
}

// begin is for a frame whose header is complete. Its flags go with the first
// piece, which may be empty, except for the one that yamux must not see before
// the last byte: a Read would take what is there by then for all.
func (b *inbox) begin() {
	h := header(b.head[:])
	b.body = h.body()
	b.dropping, b.fin = false, false
	reset := b.body > 0 && h.has(flagRST) // yamux lets nobody read what comes with it
	if reset {
		h.setLength(0)
	} else if b.body > 0 && h.has(flagFIN) {
		h.setFlags(h.flags() &^ flagFIN)
		b.fin = true
	}
	opens := h.opens()
	drop, err := b.receive(h)
	if opens && err == nil {
		b.opened++
	}
	switch b.dropping = drop || reset; {
	case err != nil:
		b.fail(err)
	case b.dropping && h.flags() == 0:
	case b.dropping:
		h.setLength(0)
		b.words = h
	case b.body > window:
		// There is no such window. Piece by piece, a reader who is fast enough
		// would hide that from yamux, so let it have the header as it is.
		b.words = h
		b.fail(errProtocol)
	case b.body > 0:
		b.announce(h)
	default:
		b.words = h
	}
}

// proceed is for bytes of a frame that has begun. Since then its stream may
// have come to be one whose bytes are dropped.
func (b *inbox) proceed() {
	h := header(b.head[:])
	if !b.dropping {
		h.setFlags(0)
		h.setLength(b.body)
		drop, err := b.receive(h)
		if err != nil {
			b.fail(err)
			return
		}
		b.dropping = drop
	}
	if !b.dropping {
		b.announce(h)
		return
	}
	n := min(b.body, uint32(len(b.rest)))
	b.rest = b.rest[n:]
	b.body -= n
}

// announce makes a piece of what has come in of the body.
func (b *inbox) announce(h header) {
	n := min(b.body, uint32(len(b.rest)))
	h.setLength(n)
	b.words = h
	b.piece = int(n)
	b.body -= n
	b.announced(b.piece)
}

// finish ends the stream, after the last byte.
func (b *inbox) finish() {
	h := header(b.head[:])
	h.setFlags(flagFIN)
	h.setLength(0)
	b.fin = false
	if _, err := b.receive(h); err != nil {
		b.fail(err)
		return
	}
	b.words = h
}

// fail has nothing more read but what yamux is to read already.
func (b *inbox) fail(err error) {
	b.err = err
	b.rest, b.body, b.fin = nil, 0, false
}
