package codec

import (
	"fmt"
	"time"
)

// A Codec makes a [Coder] for each stream: Server for the end that accepted
// it, Client for the end that opened it. hello is what this end states of
// itself, where the codec has a way to say it.
type Codec interface {
	Name() string
	Server(hello Hello) Coder
	Client(hello Hello) Coder
}

// The codecs that there are.
var (
	Raw   Codec = rawCodec{}   // every read is data; there are no beats
	Line  Codec = lineCodec{}  // lines; PING and PONG are beats
	Frame Codec = frameCodec{} // the binary protocol of docs/protocol.md
	Auto  Codec = autoCodec{}  // frame or raw, as the peer's first bytes say
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

// A Coder is one end of one stream. It does no I/O, holds no buffer and no
// clock: Decode and Finish are for the one goroutine that reads, the Append
// methods for the one that holds the stream's write lock; the two may run at
// once. Headroom and Pending may be called by anyone.
type Coder interface {
	// Headroom is how many bytes of b, before the ones just read, Decode may
	// need to hand back what it held in doubt. It is constant.
	Headroom() int

	// Decode takes what was just read, b[Headroom():Headroom()+n], takes the
	// framing and the beats out of it, moves the application's bytes to the
	// front of b and returns how many they are: none is possible. It leaves b
	// from Headroom()+n on alone. An error is a [*Error] and final; the m bytes
	// and all that was seen before it are good.
	Decode(b []byte, n int) (m int, seen Seen, err error)

	// Finish is called when the stream's input has ended. It returns a [*Error]
	// if that was within a message that the codec knows the length of.
	// Bytes that Decode still held in doubt come back in rest.
	Finish() (rest []byte, err error)

	// Pending reports whether control bytes wait to be sent: this end's Hello, or
	// an answer to a Ping. AppendPending appends them, after which they are no longer
	// pending. While they can't be put between the application's bytes (line: within a
	// line), it appends nothing and they stay pending.
	Pending() bool
	AppendPending(dst []byte) []byte

	// Begin is called before the application's data or its end is sent: what has to
	// go before either (a Hello) becomes pending.
	Begin()

	// AppendDataHeader appends what goes before p: nothing, for a codec without
	// framing. p is the application data that follows, all of it: 1 to MaxFrame
	// bytes. None may follow AppendEnd or AppendClose. It changes nothing in the
	// Coder, so a header that was not sent can be dropped.
	AppendDataHeader(dst, p []byte) []byte

	// Sent is called with the application's data that has been sent.
	Sent(p []byte)

	// AppendEnd appends the end of this direction's data and reports true, if
	// the codec has a frame for it and can go on beating; false means that only the
	// transport's CloseWrite ends it.
	AppendEnd(dst []byte) ([]byte, bool)

	// AppendPing appends a Ping; false: the codec has none, or can't send it now.
	AppendPing(dst []byte, seq uint32) ([]byte, bool)

	// AppendGoAway appends that this end is going away, and when to come again: 0
	// says nothing of that. False: the codec has no frame for it.
	AppendGoAway(dst []byte, retryAfter time.Duration) ([]byte, bool)

	// CanClose reports whether the codec has frames for GoAway and Close, as far as
	// is known now. It may be called by anyone.
	CanClose() bool

	// AppendClose appends the reason of the end; false: the codec has no frame for it.
	// Nothing may follow it. Control characters in the text are replaced, and the text
	// is cut to MaxText.
	AppendClose(dst []byte, code uint64, text string) ([]byte, bool)
}

// Seen is what one call of Decode came across.
type Seen struct {
	Messages int    // messages completed, beats not counted
	Beats    int    // beats: Pings and Pongs
	Pongs    int    // those of them that are Pongs; a peer may send some unasked, so compare Seq
	Seq      uint32 // the sequence number of the newest Pong
	End      bool   // the peer ended its data; its beats may go on
	Hello    *Hello // the peer's Hello
	GoAway   *GoAway
	Close    *Close // the peer's Close; what follows it is ignored
}

// Hello is what an end states of itself when a stream opens. Zero durations
// mean that nothing is asked. On the wire durations are whole milliseconds,
// rounded down, so that a peer never beats too slowly; but 1 at least, unless
// zero.
type Hello struct {
	Timeout  time.Duration // silence after which this end gives up
	Beat     time.Duration // the longest interval between beats that it wants
	Evidence Evidence      // what it counts as a sign of life
}

// Evidence is what an end counts as a sign of life from its peer, besides the
// peer's Hello, which always is one. Each step asks for more than the one before. The
// zero value of a Hello's stands for Bytes.
type Evidence uint8

const (
	Acks     Evidence = 1 + iota // any answer of the peer's transport stack; a Hello states it as Bytes
	Bytes                        // any byte
	Messages                     // a complete message, or a beat
	Beats                        // a beat
)

// wire is the number that stands for e in a Hello.
func (e Evidence) wire() uint64 { return uint64(max(e, Bytes) - Bytes) }

// evidenceOf is the evidence that a number in a Hello stands for. An unknown one asks
// for no more than beats do.
func evidenceOf(wire uint64) Evidence {
	if wire == 0 {
		return 0
	}
	return Bytes + Evidence(min(wire, Beats.wire()))
}

// GoAway says that the peer is going away: it takes no new work, and lets this end
// finish what is under way.
type GoAway struct {
	RetryAfter time.Duration // when to connect again; 0: not stated
}

// Close is the reason that the peer gave for the end.
type Close struct {
	Code uint64
	Text string // UTF-8 without control characters, at most MaxText bytes
}

// Limits of what a peer may send.
const (
	MaxFrame = 1 << 20  // bytes of data in one frame
	MaxLine  = 64 << 10 // bytes in one line, its newline not counted
	MaxText  = 256      // bytes in a Close's text
)

// Error is input that breaks the codec's rules.
type Error struct {
	TooLarge bool   // a limit was exceeded; otherwise the input made no sense
	Text     string // fit to be told to the peer in a Close
}

func (e *Error) Error() string { return e.Text }
