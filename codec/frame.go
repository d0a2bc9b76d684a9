package codec

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"
)

// frameCodec is the binary protocol that docs/protocol.md specifies.
type frameCodec struct{}

func (frameCodec) Name() string { return "frame" }

func (frameCodec) Server(hello Hello) Coder { return &frameCoder{own: &hello} }

func (frameCodec) Client(hello Hello) Coder {
	c := &frameCoder{own: &hello, client: true, state: inKind}
	c.hello.Store(helloPending)
	return c
}

// preface is sent first by a client. 0xFE never occurs in UTF-8 text.
const (
	magic   = "\xfeLN"
	version = 1
	preface = magic + string(rune(version))
)

// Kinds of frames. 0 is none, so that zero bytes are invalid.
const (
	kindHello = 1 + iota
	kindData
	kindPing
	kindPong
	kindClose
	kindGoAway
)

var kindNames = [...]string{kindHello: "Hello", kindData: "Data", kindPing: "Ping", kindPong: "Pong", kindClose: "Close", kindGoAway: "GoAway"}

const (
	seqLen   = 4    // bytes of a beat's sequence number
	maxHello = 1024 // bytes in a Hello's body
)

// frameCoder is one end of a stream of frames. The reader makes a Hello or a Pong pending,
// and the writer sends it.
type frameCoder struct {
	// Used by the writer.
	own     *Hello // nil when it has been sent
	client  bool
	endSent bool

	// The decoder's state, used by the reader. See frame_decode.go.
	state     frameState
	kind      byte   // of the current frame
	helloSeen bool   // the peer's Hello has been received
	ended     bool   // so has the end of its data
	left      uint32 // bytes left of the current part; in the preface, bytes received
	number    uvarint
	rare      *rareFrame // the one being received
	err       *Error

	// Used by both.
	hello     atomic.Uint32 // helloNotYet, helloPending or helloSent
	closeSent atomic.Bool   // Close has been sent: nothing else is pending
	pong      atomic.Uint64 // pongPending and the sequence number to answer with, or 0
}

// A rareFrame is a Hello or a Close, of which each peer sends one.
type rareFrame struct {
	hello Hello
	close Close
	text  []byte // of the Close
}

const (
	helloNotYet = iota
	helloPending
	helloSent
)

const pongPending = 1 << 32

func (c *frameCoder) Headroom() int { return 0 }

func (c *frameCoder) Pending() bool {
	return (c.hello.Load() == helloPending || c.pong.Load() != 0) && !c.closeSent.Load()
}

func (c *frameCoder) AppendPending(dst []byte) []byte {
	if c.closeSent.Load() {
		return dst
	}
	if c.hello.Load() == helloPending {
		dst = c.appendHello(dst)
	}
	if c.pong.Load() == 0 { // cheaper than Swap in the usual case
		return dst
	}
	// A Ping that arrives from here on makes another Pong pending. The Hello may have
	// become pending together with this Pong after it was checked above.
	p := c.pong.Swap(0)
	return appendBeat(c.appendHello(dst), kindPong, uint32(p))
}

// Begin makes the Hello pending at a server that has not received the preface yet.
func (c *frameCoder) Begin() { c.hello.CompareAndSwap(helloNotYet, helloPending) }

// appendHello appends the Hello unless it has been sent. Every frame calls it, so that the
// Hello is first.
func (c *frameCoder) appendHello(dst []byte) []byte {
	if c.hello.Load() == helloSent {
		return dst
	}
	c.hello.Store(helloSent)
	if c.client {
		dst = append(dst, preface...)
	}
	dst = append(dst, kindHello, 0)
	body := len(dst)
	dst = binary.AppendUvarint(dst, millis(c.own.Timeout))
	dst = binary.AppendUvarint(dst, millis(c.own.Beat))
	dst = binary.AppendUvarint(dst, c.own.Evidence.wire())
	c.own = nil
	dst[body-1] = byte(len(dst) - body) // three varints: never more than 30
	return dst
}

func (c *frameCoder) AppendDataHeader(dst, p []byte) []byte {
	if len(p) > MaxFrame {
		panic("codec: more than MaxFrame bytes for one frame")
	}
	if len(p) == 0 { // a Data frame of length 0 means the end of data
		return dst
	}
	return binary.AppendUvarint(append(dst, kindData), uint64(len(p)))
}

func (c *frameCoder) AppendEnd(dst []byte) ([]byte, bool) {
	if c.endSent || c.closeSent.Load() {
		return dst, true
	}
	c.endSent = true
	return append(c.appendHello(dst), kindData, 0), true
}

func (c *frameCoder) AppendPing(dst []byte, seq uint32) ([]byte, bool) {
	if c.closeSent.Load() {
		return dst, false
	}
	return appendBeat(c.appendHello(dst), kindPing, seq), true
}

func appendBeat(dst []byte, kind byte, seq uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, kind), seq)
}

func (c *frameCoder) CanClose() bool { return true }

func (c *frameCoder) Sent([]byte) {}

func (c *frameCoder) AppendGoAway(dst []byte, retryAfter time.Duration) ([]byte, bool) {
	if c.closeSent.Load() {
		return dst, false
	}
	return binary.AppendUvarint(append(c.appendHello(dst), kindGoAway), millis(retryAfter)), true
}

// AppendClose appends nothing the second time.
func (c *frameCoder) AppendClose(dst []byte, code uint64, text string) ([]byte, bool) {
	if c.closeSent.Swap(true) {
		return dst, true
	}
	var fit [MaxText]byte
	clean := appendText(fit[:0], text)
	dst = append(c.appendHello(dst), kindClose)
	dst = binary.AppendUvarint(dst, code)
	dst = binary.AppendUvarint(dst, uint64(len(clean)))
	return append(dst, clean...), true
}

// appendText appends at most MaxText bytes of text, and replaces characters that a receiver
// would reject.
func appendText(dst []byte, text string) []byte {
	for _, r := range text { // an invalid byte is a utf8.RuneError
		if unicode.IsControl(r) {
			r = ' '
		}
		if len(dst)+utf8.RuneLen(r) > MaxText {
			break
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}

func validText(text []byte) bool {
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if r == utf8.RuneError && size == 1 || unicode.IsControl(r) {
			return false
		}
		text = text[size:]
	}
	return true
}

// millis rounds down, but not to zero, which would mean no request.
func millis(d time.Duration) uint64 {
	if d <= 0 {
		return 0
	}
	return uint64(max(1, d/time.Millisecond))
}

// duration is the inverse of millis. Values that don't fit a Duration are cut.
func duration(millis uint64) time.Duration {
	const most = math.MaxInt64 / uint64(time.Millisecond)
	return time.Duration(min(millis, most)) * time.Millisecond
}

func frameError(format string, args ...any) *Error {
	return &Error{Text: "frame: " + fmt.Sprintf(format, args...)}
}
