package codec

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"time"
)

// lineCodec is text in lines, in which the lines PING and PONG are beats. Both
// ends are alike, and there is no Hello.
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
	// The reading goroutine's.
	doubt  [lineHeadroom + 1]byte // the start of a line that may become a beat
	held   int8                   // how many bytes of it there are
	length int32                  // bytes of the current line that were passed
	err    *Error

	// The write lock's holder's: our own output is within a line, where no beat
	// can be put.
	within bool

	// lines have no sequence numbers: an answer has that of the latest Ping.
	seq atomic.Uint32

	// Set by the reader, cleared by the writer. One PONG answers all the PINGs
	// before it, so that a flood of them is not answered by a flood.
	pong atomic.Bool
}

func (c *lineCoder) Headroom() int { return lineHeadroom }

// Decode moves what passes in runs, as long as no beat interrupts them. What
// is written never reaches what is still to be read, since all the bytes held
// have their place in the headroom.
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
			c.held = int8(copy(c.doubt[:], line))
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

// cutLine returns the first line of b, newline included, or what there is.
func cutLine(b []byte) (line []byte, whole bool) {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[:i+1], true
	}
	return b, false
}

// resolve goes on with a line whose start is held, until it is known what it
// is or b, which it reads behind the headroom, is used up. It returns how far
// it read and how many bytes it put to the front of b.
func (c *lineCoder) resolve(b []byte, seen *Seen) (r, m int) {
	for r = lineHeadroom; r < len(b); r++ {
		c.doubt[c.held] = b[r]
		kind := kindOfLine(c.doubt[:c.held+1])
		if kind == undecided {
			c.held++
			continue
		}
		if kind == plain {
			// The byte that decided it is left to the caller: it may be the newline.
			c.length = int32(c.held)
			m = copy(b, c.doubt[:c.held])
		} else {
			c.beat(kind == isPong, seen)
			r++
		}
		c.held = 0
		return r, m
	}
	return r, 0
}

// pass counts line, or the part of it that there is, as the application's, and
// returns how much of it is within the limit.
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
	undecided lineKind = iota // it may yet become a beat
	plain
	isPing
	isPong
)

// kindOfLine judges a line, or the start of one.
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

// Finish hands back a line's start that now can't become a beat any more. A
// last line without a newline is no error.
func (c *lineCoder) Finish() ([]byte, error) {
	rest := bytes.Clone(c.doubt[:c.held])
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
