package codec

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"time"
)

// lineCodec is text in lines, in which the lines PING and PONG are beats. It has no Hello.
type lineCodec struct{}

func (lineCodec) Name() string       { return "line" }
func (lineCodec) Server(Hello) Coder { return new(lineCoder) }
func (lineCodec) Client(Hello) Coder { return new(lineCoder) }

const (
	ping = "PING"
	pong = "PONG"

	// lineHeadroom is the longest start of a line that may still become a beat:
	// PING and a carriage return.
	lineHeadroom = len(ping) + 1
)

type lineCoder struct {
	// Used by the reader.
	start  [lineHeadroom + 1]byte // the start of a line that may become a beat
	held   int8                   // bytes in start
	length int32                  // bytes of the current line passed to the application
	err    *Error

	// Used by the writer: the output is within a line, where no beat can be sent.
	within bool

	// Lines have no sequence numbers: a PONG gets that of the latest PING.
	seq atomic.Uint32

	// Set by the reader, cleared by the writer. One PONG answers all earlier PINGs, so
	// that a flood of PINGs does not cause a flood of PONGs.
	pong atomic.Bool
}

func (c *lineCoder) Headroom() int { return lineHeadroom }

// Decode moves runs of bytes between beats at once. Writing to b never overtakes reading,
// since the held bytes fit in the headroom.
func (c *lineCoder) Decode(b []byte, n int) (m int, seen Seen, err error) {
	if c.err != nil {
		return 0, seen, c.err
	}
	r, end := lineHeadroom, lineHeadroom+n
	if c.held > 0 {
		r, m = c.resolve(b[:end], &seen)
	}
	run := r
	for r < end && c.err == nil {
		line, whole := cutLine(b[r:end])
		if c.length > 0 || line[0] != ping[0] {
			r += c.pass(line, whole, &seen)
			continue
		}
		switch kindOfLine(line) {
		case plain:
			r += c.pass(line, whole, &seen)
			continue
		case undecided:
			c.held = int8(copy(c.start[:], line))
		case isPing:
			c.beat(false, &seen)
		case isPong:
			c.beat(true, &seen)
		}
		m += copy(b[m:], b[run:r])
		r += len(line)
		run = r
	}
	m += copy(b[m:], b[run:r])
	if c.err != nil {
		return m, seen, c.err
	}
	return m, seen, nil
}

// cutLine returns the first line of b, newline included, or all of b if it has none.
func cutLine(b []byte) (line []byte, whole bool) {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[:i+1], true
	}
	return b, false
}

// resolve continues a line whose start is held, until its kind is known or b is used up. It
// reads from the headroom on, and returns where it stopped and how many bytes it put at the
// front of b.
func (c *lineCoder) resolve(b []byte, seen *Seen) (r, m int) {
	for r = lineHeadroom; r < len(b); r++ {
		c.start[c.held] = b[r]
		kind := kindOfLine(c.start[:c.held+1])
		if kind == undecided {
			c.held++
			continue
		}
		if kind == plain {
			// The byte that decided it may be the newline, so the caller processes it.
			c.length = int32(c.held)
			m = copy(b, c.start[:c.held])
		} else {
			c.beat(kind == isPong, seen)
			r++
		}
		c.held = 0
		return r, m
	}
	return r, 0
}

// pass counts line, or a part of it, as the application's data, and returns how many of its
// bytes are within the limit.
func (c *lineCoder) pass(line []byte, whole bool, seen *Seen) int {
	text := len(line)
	if whole {
		text--
	}
	if room := MaxLine - int(c.length); text > room {
		c.err = &Error{TooLarge: true, Text: fmt.Sprintf("line: longer than %d bytes", MaxLine)}
		return room
	}
	c.length += int32(text)
	if whole {
		seen.Messages++
		c.length = 0
	}
	return len(line)
}

func (c *lineCoder) beat(answer bool, seen *Seen) {
	seen.Beats++
	if answer {
		seen.Pongs++
		seen.Seq = c.seq.Load()
	} else {
		c.pong.Store(true)
	}
}

type lineKind uint8

const (
	undecided lineKind = iota // it may still become a beat
	plain
	isPing
	isPong
)

// kindOfLine returns the kind of a line, or of the start of one.
func kindOfLine(s []byte) lineKind {
	kind, word := isPing, ping
	if len(s) > 1 && s[1] == pong[1] {
		kind, word = isPong, pong
	}
	k := min(len(s), len(word))
	if string(s[:k]) != word[:k] {
		return plain
	}
	switch string(s[k:]) {
	case "\n", "\r\n":
		return kind
	case "", "\r":
		return undecided
	}
	return plain
}

// Finish returns the held start of a line, which can't become a beat any more. A last line
// without a newline is no error.
func (c *lineCoder) Finish() ([]byte, error) {
	rest := bytes.Clone(c.start[:c.held])
	c.held = 0
	return rest, nil
}

func (c *lineCoder) Pending() bool { return c.pong.Load() }

func (c *lineCoder) AppendPending(dst []byte) []byte {
	if c.within || !c.pong.Swap(false) {
		return dst
	}
	return append(dst, pong+"\n"...)
}

func (c *lineCoder) Begin() {}

func (c *lineCoder) AppendDataHeader(dst, p []byte) []byte { return dst }

func (c *lineCoder) Sent(p []byte) {
	if len(p) > 0 {
		c.within = p[len(p)-1] != '\n'
	}
}

func (c *lineCoder) AppendEnd(dst []byte) ([]byte, bool) { return dst, false }

func (c *lineCoder) AppendPing(dst []byte, seq uint32) ([]byte, bool) {
	if c.within {
		return dst, false
	}
	c.seq.Store(seq)
	return append(dst, ping+"\n"...), true
}

func (c *lineCoder) AppendGoAway(dst []byte, _ time.Duration) ([]byte, bool) { return dst, false }

func (c *lineCoder) CanClose() bool { return false }

func (c *lineCoder) AppendClose(dst []byte, _ uint64, _ string) ([]byte, bool) { return dst, false }
