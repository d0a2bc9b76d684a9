package codec

import (
	"fmt"
	"time"
)

// A Codec makes a [Coder] for each stream: Server for the end that accepted it, Client for
// the end that opened it. hello is sent to the peer if the codec has a Hello.
type Codec interface {
	Name() string             // as ByName takes it
	Server(hello Hello) Coder // for the end that accepted the stream
	Client(hello Hello) Coder // for the end that opened it
}

// The codecs.
var (
	Raw   Codec = rawCodec{}   // every read is data; there are no beats
	Line  Codec = lineCodec{}  // lines; PING and PONG are beats
	Frame Codec = frameCodec{} // the binary protocol of docs/protocol.md
	Auto  Codec = autoCodec{}  // frame or raw, detected by the peer's first bytes
)

// ByName returns the codec of that name: auto, frame, line or raw.
func ByName(name string) (Codec, error) {
	for _, c := range []Codec{Auto, Frame, Line, Raw} {
		if c.Name() == name {
			return c, nil
		}
	}
	return nil, fmt.Errorf("codec: no codec is called %q: there are auto, frame, line and raw", name)
}

// A Coder encodes and decodes at one end of one stream. It does no I/O and has no buffer and
// no clock. One goroutine, the reader, may call Decode and Finish while another, which holds
// the stream's write lock, calls the Append methods, Begin and Sent. Headroom, Pending and
// CanClose may be called from any goroutine.
type Coder interface {
	// Headroom returns how many free bytes Decode needs in b before the bytes just read.
	// It may have to return that many bytes that it held back earlier. It is constant.
	Headroom() int

	// Decode processes b[Headroom():Headroom()+n], which was just read. It removes the
	// framing and the beats, moves the application's bytes to the front of b and returns
	// their number, which may be 0. It does not touch b from Headroom()+n on. An error is
	// a [*Error] and final; m and seen are valid even then.
	Decode(b []byte, n int) (m int, seen Seen, err error)

	// Finish is called when the input has ended. It returns bytes that Decode held back,
	// or a [*Error] if the input ended within a frame.
	Finish() (rest []byte, err error)

	// Pending reports whether control frames are pending: this end's Hello, or an answer
	// to a Ping. AppendPending appends them, after which they are no longer pending. If
	// they can't be sent now (line: within a line), it appends nothing and they stay
	// pending.
	Pending() bool
	AppendPending(dst []byte) []byte

	// Begin is called before the application's data or its end is sent. A Hello that has
	// to precede it becomes pending.
	Begin()

	// AppendDataHeader appends the header of a frame with the application's data p, of 1
	// to MaxFrame bytes; a codec without framing appends nothing. It must not be called
	// after AppendEnd or AppendClose. It does not change the Coder, so that a header that
	// was not sent can be dropped.
	AppendDataHeader(dst, p []byte) []byte

	// Sent is called with the application's data that has been sent.
	Sent(p []byte)

	// AppendEnd appends the end of this direction's data and returns true, if the codec
	// has a frame for it. Beats may follow. False means that only the transport's
	// CloseWrite can end the data.
	AppendEnd(dst []byte) ([]byte, bool)

	// AppendPing appends a Ping. It returns false if the codec has none, or can't send
	// one now.
	AppendPing(dst []byte, seq uint32) ([]byte, bool)

	// AppendGoAway appends a GoAway, with the delay after which the peer may connect
	// again; 0 means not stated. It returns false if the codec has no such frame.
	AppendGoAway(dst []byte, retryAfter time.Duration) ([]byte, bool)

	// CanClose reports whether the codec has frames for GoAway and Close. For auto that
	// is false as long as the mode is unknown.
	CanClose() bool

	// AppendClose appends a Close with the reason. It returns false if the codec has no
	// such frame. Nothing may follow it. Control characters in the text are replaced, and
	// the text is cut to MaxText.
	AppendClose(dst []byte, code uint64, text string) ([]byte, bool)
}

// Seen is what one call of Decode found.
type Seen struct {
	Messages int    // messages completed, without beats
	Beats    int    // Pings and Pongs
	Pongs    int    // Pongs; a peer may send some without a Ping, so compare Seq
	Seq      uint32 // the sequence number of the newest Pong
	End      bool   // the peer ended its data; its beats may go on
	Hello    *Hello // the peer's Hello
	GoAway   *GoAway
	Close    *Close // the peer's Close; what follows it is ignored
}

// Hello is sent by each end when a stream opens. Zero durations mean no request. On the wire
// durations are whole milliseconds, rounded down, so that a peer does not beat too slowly,
// but to at least 1 unless zero.
type Hello struct {
	Timeout  time.Duration // silence after which this end closes the stream
	Beat     time.Duration // the longest interval between beats that this end accepts
	Evidence Evidence      // what this end counts as evidence
}

// Evidence is what an end counts as evidence that its peer is alive, besides the peer's
// Hello, which always counts. Each value requires more than the one before. In a Hello the
// zero value means Bytes.
type Evidence uint8

const (
	Acks     Evidence = 1 + iota // any answer of the peer's transport stack; sent as Bytes in a Hello
	Bytes                        // any byte
	Messages                     // a complete message, or a beat
	Beats                        // a beat
)

// wire is the number that stands for e in a Hello.
func (e Evidence) wire() uint64 { return uint64(max(e, Bytes) - Bytes) }

// evidenceOf is the inverse of wire. An unknown number means Beats.
func evidenceOf(wire uint64) Evidence {
	if wire == 0 {
		return 0
	}
	return Bytes + Evidence(min(wire, Beats.wire()))
}

// GoAway says that the peer accepts no new work, and waits for work under way to finish.
type GoAway struct {
	RetryAfter time.Duration // when to connect again; 0: not stated
}

// Close is the reason that the peer gave for closing.
type Close struct {
	Code uint64
	Text string // UTF-8 without control characters, at most MaxText bytes
}

// Limits for the peer.
const (
	MaxFrame = 1 << 20  // bytes of data in one frame
	MaxLine  = 64 << 10 // bytes in one line, its newline not counted
	MaxText  = 256      // bytes in a Close's text
)

// Error is input that breaks the codec's rules.
type Error struct {
	TooLarge bool   // a limit was exceeded; otherwise the input was invalid
	Text     string // may be sent to the peer in a Close
}

func (e *Error) Error() string { return e.Text }
