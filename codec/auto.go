package codec

import (
	"sync/atomic"
	"time"
)

// autoCodec detects frame or raw at the end that accepts. The end that opens the stream
// always uses frame.
type autoCodec struct{}

func (autoCodec) Name() string             { return "auto" }
func (autoCodec) Client(hello Hello) Coder { return Frame.Client(hello) }

func (autoCodec) Server(hello Hello) Coder {
	return &autoCoder{frame: frameCoder{own: &hello}}
}

// autoHeadroom is how many bytes may be held until the magic is complete.
const autoHeadroom = len(magic) - 1

// autoCoder becomes frame or raw when the peer's first bytes show which. If the application
// writes or ends its data before that, it becomes raw: waiting for the peer's first byte
// could take for ever.
type autoCoder struct {
	frame frameCoder

	// Number of bytes held, which are the first ones of magic. Used by the reader.
	held uint8

	// Set once, by the reader or the writer.
	mode atomic.Uint32
}

const (
	modeUnknown = iota
	modeRaw
	modeFrame
)

// settle sets the mode if it is unknown, and returns the mode.
func (c *autoCoder) settle(mode uint32) uint32 {
	if c.mode.CompareAndSwap(modeUnknown, mode) {
		return mode
	}
	return c.mode.Load()
}

func (c *autoCoder) isFrame() bool { return c.mode.Load() == modeFrame }

func (c *autoCoder) Headroom() int { return autoHeadroom }

func (c *autoCoder) Decode(b []byte, n int) (m int, seen Seen, err error) {
	mode, taken := c.mode.Load(), 0
	if mode == modeUnknown {
		mode, taken = c.detect(b[autoHeadroom : autoHeadroom+n])
	}
	switch mode {
	case modeFrame:
		return c.frame.decode(b, autoHeadroom+taken, n-taken)
	case modeRaw:
		m = copy(b, magic[:c.held])
		c.held = 0
		m += copy(b[m:], b[autoHeadroom:autoHeadroom+n])
		return rawCoder{}.Decode(b, m)
	}
	return 0, Seen{}, nil
}

// detect compares the stream's first bytes with magic. If they match, the frame decoder goes
// on with the version, so that a wrong version is an error and not raw data.
func (c *autoCoder) detect(in []byte) (mode uint32, taken int) {
	for i, x := range in {
		if x != magic[int(c.held)+i] {
			return c.settle(modeRaw), 0
		}
		if int(c.held)+i+1 < len(magic) {
			continue
		}
		if mode = c.settle(modeFrame); mode == modeFrame {
			c.frame.left = uint32(len(magic))
			taken = i + 1
		}
		return mode, taken
	}
	c.held += uint8(len(in))
	return modeUnknown, 0
}

// Finish returns the held bytes if the input ended before magic was complete: then it is raw.
func (c *autoCoder) Finish() ([]byte, error) {
	if c.isFrame() {
		return c.frame.Finish()
	}
	rest := []byte(magic[:c.held])
	c.held = 0
	return rest, nil
}

func (c *autoCoder) Pending() bool { return c.isFrame() && c.frame.Pending() }

func (c *autoCoder) AppendPending(dst []byte) []byte {
	if !c.isFrame() {
		return dst
	}
	return c.frame.AppendPending(dst)
}

func (c *autoCoder) Begin() {
	if c.settle(modeRaw) == modeFrame {
		c.frame.Begin()
	}
}

func (c *autoCoder) AppendDataHeader(dst, p []byte) []byte {
	if !c.isFrame() {
		return dst
	}
	return c.frame.AppendDataHeader(dst, p)
}

func (c *autoCoder) Sent([]byte) {}

func (c *autoCoder) AppendEnd(dst []byte) ([]byte, bool) {
	if c.settle(modeRaw) == modeRaw {
		return dst, false
	}
	return c.frame.AppendEnd(dst)
}

func (c *autoCoder) AppendPing(dst []byte, seq uint32) ([]byte, bool) {
	if !c.isFrame() {
		return dst, false
	}
	return c.frame.AppendPing(dst, seq)
}

func (c *autoCoder) AppendGoAway(dst []byte, retryAfter time.Duration) ([]byte, bool) {
	if !c.isFrame() {
		return dst, false
	}
	return c.frame.AppendGoAway(dst, retryAfter)
}

func (c *autoCoder) CanClose() bool { return c.isFrame() }

func (c *autoCoder) AppendClose(dst []byte, code uint64, text string) ([]byte, bool) {
	if !c.isFrame() {
		return dst, false
	}
	return c.frame.AppendClose(dst, code, text)
}
