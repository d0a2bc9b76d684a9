package codec_test

import (
	"encoding/hex"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
)

const (
	preface = "\xfeLN\x01"
	hello   = "\x01\x03\x00\x00\x00" // a Hello that asks for nothing
	opening = preface + hello
)

func TestFrameServerReads(t *testing.T) {
	second := codec.Hello{Timeout: time.Second, Beat: 300 * time.Millisecond, Evidence: codec.Beats}
	for _, tc := range []struct {
		name, input string
		want        transcript
	}{
		{"nothing", "", transcript{}},
		{"preface only", preface, transcript{owed: hello}},
		{"opening", opening, transcript{hellos: 1, owed: hello}},
		{"what a Hello says", preface + "\x01\x05\xe8\x07\xac\x02\x02", transcript{hellos: 1, hello: second, owed: hello}},
		{"reserved bytes", preface + "\x01\x08\xe8\x07\xac\x02\x02\xff\x01\x05", transcript{hellos: 1, hello: second, owed: hello}},
		{"evidence not known yet", preface + "\x01\x03\x00\x00\x09", transcript{hellos: 1, hello: codec.Hello{Evidence: codec.Beats}, owed: hello}},
		{"data", opening + "\x02\x05hello\x02\x01!", transcript{hellos: 1, messages: 2, data: "hello!", owed: hello}},
		{"data that looks like frames", opening + "\x02\x05" + hello, transcript{hellos: 1, messages: 1, data: hello, owed: hello}},
		{"ping", opening + "\x03\x00\x00\x01\x02", transcript{hellos: 1, beats: 1, owed: hello + "\x04\x00\x00\x01\x02"}},
		{"the newest ping is answered", opening + "\x03\xff\xff\xff\xff\x03\x00\x00\x00\x00",
			transcript{hellos: 1, beats: 2, owed: hello + "\x04\x00\x00\x00\x00"}},
		{"pong", opening + "\x04\x01\x02\x03\x04\x04\x00\x00\x00\x05",
			transcript{hellos: 1, beats: 2, answered: true, seq: 5, owed: hello}},
		{"beats between data", opening + "\x02\x01a\x03\x00\x00\x00\x01\x02\x01b\x04\x00\x00\x00\x02",
			transcript{hellos: 1, messages: 2, data: "ab", beats: 2, answered: true, seq: 2, owed: hello + "\x04\x00\x00\x00\x01"}},
		{"end of data", opening + "\x02\x01a\x02\x00", transcript{hellos: 1, messages: 1, data: "a", ends: 1, owed: hello}},
		{"beats after the end of data", opening + "\x02\x00\x03\x00\x00\x00\x07",
			transcript{hellos: 1, ends: 1, beats: 1, owed: hello + "\x04\x00\x00\x00\x07"}},
		{"bye", opening + "\x05\x02\x04idle", transcript{hellos: 1, byes: 1, bye: codec.Close{Code: 2, Text: "idle"}, owed: hello}},
		{"bye without a text", opening + "\x05\x00\x00", transcript{hellos: 1, byes: 1, owed: hello}},
		{"bye with the largest code", opening + "\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00",
			transcript{hellos: 1, byes: 1, bye: codec.Close{Code: math.MaxUint64}, owed: hello}},
		{"bye after the end of data", opening + "\x02\x00\x05\x00\x00", transcript{hellos: 1, ends: 1, byes: 1, owed: hello}},
		{"whatever follows a bye", opening + "\x05\x00\x00\xff\x02\x01a\x01", transcript{hellos: 1, byes: 1, owed: hello}},
		{"text beyond ASCII", opening + "\x05\x0a\x06zażó", transcript{hellos: 1, byes: 1, bye: codec.Close{Code: 10, Text: "zażó"}, owed: hello}},
	} {
		t.Run(tc.name, func(t *testing.T) { playEverySplit(t, server(codec.Frame), tc.input, tc.want) })
	}
}

func TestFrameClientReads(t *testing.T) {
	const own = opening // what a client owes from the start
	for _, tc := range []struct {
		name, input string
		want        transcript
	}{
		{"nothing", "", transcript{owed: own}},
		{"hello", hello, transcript{hellos: 1, owed: own}},
		{"ping", hello + "\x03\x00\x00\x00\x09", transcript{hellos: 1, beats: 1, owed: own + "\x04\x00\x00\x00\x09"}},
		{"data and bye", hello + "\x02\x02hi\x02\x00\x05\x0b\x00",
			transcript{hellos: 1, messages: 1, data: "hi", ends: 1, byes: 1, bye: codec.Close{Code: 11}, owed: own}},
		{"a preface back", opening, transcript{fail: "frame: unknown kind 0xfe", owed: own}},
	} {
		t.Run(tc.name, func(t *testing.T) { playEverySplit(t, client(codec.Frame), tc.input, tc.want) })
	}
}

func TestFrameErrors(t *testing.T) {
	const overlong = "\xff\xff\xff\xff\xff\xff\xff\xff\xff"
	for _, tc := range []struct {
		name, input string // the input goes on with more after the error
		fail        string
		tooLarge    bool
		before      transcript // what came before it
	}{
		{name: "text instead of a preface", input: "GET / HTTP/1.1\r\n", fail: "byte 0 is 0x47, not the preface's 0xfe"},
		{name: "garbage within the preface", input: "\xfeLX\x01", fail: "byte 2 is 0x58, not the preface's 0x4e"},
		{name: "wrong version", input: "\xfeLN\x02" + hello, fail: "the peer speaks version 2, this end version 1"},
		{name: "version zero", input: "\xfeLN\x00" + hello, fail: "the peer speaks version 0, this end version 1"},

		{name: "unknown kind", input: opening + "\x07\x00", fail: "unknown kind 0x07", before: transcript{hellos: 1}},
		{name: "kind zero", input: opening + "\x00\x00", fail: "unknown kind 0x00", before: transcript{hellos: 1}},
		{name: "unknown kind before Hello", input: preface + "\xff", fail: "unknown kind 0xff"},
		{name: "data before Hello", input: preface + "\x02\x01a", fail: "Data before Hello"},
		{name: "ping before Hello", input: preface + "\x03\x00\x00\x00\x01", fail: "Ping before Hello"},
		{name: "pong before Hello", input: preface + "\x04\x00\x00\x00\x01", fail: "Pong before Hello"},
		{name: "bye before Hello", input: preface + "\x05\x00\x00", fail: "Close before Hello"},
		{name: "second Hello", input: opening + "\x02\x01a" + hello, fail: "a second Hello",
			before: transcript{hellos: 1, messages: 1, data: "a"}},
		{name: "data after the end of data", input: opening + "\x02\x00\x02\x01a", fail: "Data after the end of data",
			before: transcript{hellos: 1, ends: 1}},
		{name: "a second end of data", input: opening + "\x02\x00\x02\x00", fail: "Data after the end of data",
			before: transcript{hellos: 1, ends: 1}},

		{name: "Hello too long", input: preface + "\x01\x81\x08", tooLarge: true,
			fail: "the length of a Hello is 1025, more than 1024"},
		{name: "Hello of the longest length", input: preface + "\x01" + overlong + "\x01", tooLarge: true,
			fail: "the length of a Hello is 18446744073709551615, more than 1024"},
		{name: "Hello without a body", input: preface + "\x01\x00\x00\x00\x00", fail: "the timeout in a Hello is missing or cut short"},
		{name: "Hello without an evidence", input: preface + "\x01\x02\x00\x00\x00", fail: "the evidence in a Hello is missing or cut short"},
		{name: "Hello that ends in a varint", input: preface + "\x01\x02\x00\x80\x01\x00", fail: "the beat in a Hello is missing or cut short"},
		{name: "Hello length not minimal", input: preface + "\x01\x83\x00\x00\x00\x00", fail: "the length of a Hello is not minimally encoded"},
		{name: "timeout not minimal", input: preface + "\x01\x04\x80\x00\x00\x00", fail: "the timeout in a Hello is not minimally encoded"},
		{name: "timeout overlong", input: preface + "\x01\x0e" + overlong + "\x02\x00\x00", fail: "the timeout in a Hello does not fit 64 bits"},

		{name: "data too long", input: opening + "\x02\x81\x80\x40", tooLarge: true,
			fail: "the length of a Data frame is 1048577, more than 1048576", before: transcript{hellos: 1}},
		{name: "data length not minimal", input: opening + "\x02\x81\x00a", fail: "the length of a Data frame is not minimally encoded",
			before: transcript{hellos: 1}},
		{name: "end of data not minimal", input: opening + "\x02\x80\x00", fail: "the length of a Data frame is not minimally encoded",
			before: transcript{hellos: 1}},
		{name: "data length overlong", input: opening + "\x02" + overlong + "\x80\x01", fail: "the length of a Data frame does not fit 64 bits",
			before: transcript{hellos: 1}},

		{name: "bye text too long", input: opening + "\x05\x00\x81\x02", tooLarge: true,
			fail: "the length of a Close's text is 257, more than 256", before: transcript{hellos: 1}},
		{name: "bye code not minimal", input: opening + "\x05\x80\x00\x00", fail: "the code of a Close is not minimally encoded",
			before: transcript{hellos: 1}},
		{name: "bye code overlong", input: opening + "\x05" + overlong + "\x02\x00", fail: "the code of a Close does not fit 64 bits",
			before: transcript{hellos: 1}},
		{name: "bye text length not minimal", input: opening + "\x05\x00\x80\x00", fail: "the length of a Close's text is not minimally encoded",
			before: transcript{hellos: 1}},
		{name: "bye text not UTF-8", input: opening + "\x05\x00\x02a\xff", fail: "the text of a Close is not UTF-8 or has control characters",
			before: transcript{hellos: 1}},
		{name: "bye text with a newline", input: opening + "\x05\x00\x02a\n", fail: "the text of a Close is not UTF-8 or has control characters",
			before: transcript{hellos: 1}},
		{name: "bye text with a C1 control", input: opening + "\x05\x00\x02\xc2\x9b", fail: "the text of a Close is not UTF-8 or has control characters",
			before: transcript{hellos: 1}},

		{name: "end within the preface", input: "\xfeL", fail: "input ended within the preface"},
		{name: "end before the version", input: "\xfeLN", fail: "input ended within the preface"},
		{name: "end within a Hello's length", input: preface + "\x01", fail: "input ended within the length of a Hello"},
		{name: "end within a Hello", input: preface + "\x01\x03\x00", fail: "input ended within the beat in a Hello"},
		{name: "end within reserved bytes", input: preface + "\x01\x05\x00\x00\x00\x00", fail: "input ended within the reserved bytes of a Hello"},
		{name: "end within a length", input: opening + "\x02\x80", fail: "input ended within the length of a Data frame",
			before: transcript{hellos: 1}},
		{name: "end within a payload", input: opening + "\x02\x05hell", fail: "input ended within the payload of a Data frame",
			before: transcript{hellos: 1, data: "hell"}},
		{name: "end within a ping", input: opening + "\x03\x00\x00\x00", fail: "input ended within the sequence number of a beat",
			before: transcript{hellos: 1}},
		{name: "end within a code", input: opening + "\x05", fail: "input ended within the code of a Close", before: transcript{hellos: 1}},
		{name: "end within a text", input: opening + "\x05\x00\x02a", fail: "input ended within the text of a Close", before: transcript{hellos: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := tc.before
			want.fail, want.tooLarge = "frame: "+tc.fail, tc.tooLarge
			if strings.HasPrefix(tc.input, preface) {
				want.owed = hello
			}
			playEverySplit(t, server(codec.Frame), tc.input, want)
			if strings.HasPrefix(tc.input, "\xfeLN") { // otherwise it is raw data to auto
				playEverySplit(t, server(codec.Auto), tc.input, want)
			}
		})
	}
}

func TestFrameLimits(t *testing.T) {
	payload := strings.Repeat("x", codec.MaxFrame)
	text := strings.Repeat("y", codec.MaxText)
	reserved := strings.Repeat("\xff", 1024-3)
	for _, tc := range []struct {
		name, input string
		want        transcript
	}{
		{"the longest payload", opening + "\x02\x80\x80\x40" + payload, transcript{hellos: 1, messages: 1, data: payload, owed: hello}},
		{"the longest text", opening + "\x05\x00\x80\x02" + text, transcript{hellos: 1, byes: 1, bye: codec.Close{Text: text}, owed: hello}},
		{"the longest Hello", preface + "\x01\x80\x08\x00\x00\x00" + reserved, transcript{hellos: 1, owed: hello}},
	} {
		for _, cuts := range [][]int{nil, {1}, {12}, {20}, {len(tc.input) - 1}, every(997, len(tc.input))} {
			got := play(t, codec.Frame.Server(codec.Hello{}), cut([]byte(tc.input), cuts))
			if got != tc.want {
				t.Errorf("%s, cut at %v: %d bytes, %q", tc.name, len(cuts), len(got.data), got.fail)
			}
		}
	}
}

// A Hello precedes the first frame, whatever that is, and a client's preface precedes the
// Hello.
func TestFrameHelloIsFirst(t *testing.T) {
	for _, tc := range []struct {
		name, want string
		send       func(codec.Coder) []byte
	}{
		{"data", "0201", func(c codec.Coder) []byte { return header(c, []byte("x")) }},
		{"end", "0200", func(c codec.Coder) []byte { b, _ := c.AppendEnd(nil); return b }},
		{"ping", "0301020304", func(c codec.Coder) []byte { b, _ := c.AppendPing(nil, 0x01020304); return b }},
		{"go away", "06b0ea01", func(c codec.Coder) []byte { b, _ := c.AppendGoAway(nil, 30*time.Second); return b }},
		{"close", "0507026f6b", func(c codec.Coder) []byte { b, _ := c.AppendClose(nil, 7, "ok"); return b }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for open, c := range map[string]codec.Coder{
				opening: codec.Frame.Client(codec.Hello{}),
				hello:   codec.Frame.Server(codec.Hello{}),
			} {
				if got, want := hex.EncodeToString(tc.send(c)), hex.EncodeToString([]byte(open))+tc.want; got != want {
					t.Errorf("sent %s, want %s", got, want)
				}
				decode(t, c, []byte(opening)) // must not cause a second Hello
				if got := c.AppendPending(nil); len(got) > 0 || c.Pending() {
					t.Errorf("then owed %x", got)
				}
			}
		})
	}
}

func TestFramePending(t *testing.T) {
	if c := codec.Frame.Client(codec.Hello{}); !c.Pending() {
		t.Error("a client owes its Hello from the start")
	}
	c := codec.Frame.Server(codec.Hello{})
	if c.Pending() {
		t.Error("a server owes nothing before it has seen the preface")
	}
	decode(t, c, []byte(preface))
	if !c.Pending() {
		t.Error("a server owes its Hello as soon as it has seen the preface")
	}
	c.AppendPending(nil)
	decode(t, c, []byte(hello+"\x03\x00\x00\x00\x00"))
	if !c.Pending() {
		t.Error("a Pong is owed, though for sequence number 0")
	}
}

// Nothing is sent after a Close, whatever is pending.
func TestFrameCloseIsLast(t *testing.T) {
	c := codec.Frame.Server(codec.Hello{})
	decode(t, c, []byte(opening+"\x03\x00\x00\x00\x01"))
	c.AppendClose(nil, 2, "silent")
	if c.Pending() || len(c.AppendPending(nil)) > 0 {
		t.Error("something is owed")
	}
	if b, ok := c.AppendPing(nil, 1); len(b) > 0 || ok {
		t.Errorf("ping: %x, %v", b, ok)
	}
	if b, ok := c.AppendEnd(nil); len(b) > 0 || !ok {
		t.Errorf("end: %x, %v", b, ok)
	}
	if b, ok := c.AppendClose(nil, 3, "again"); len(b) > 0 || !ok {
		t.Errorf("second bye: %x, %v", b, ok)
	}
}

func TestFrameEndOnce(t *testing.T) {
	c := codec.Frame.Client(codec.Hello{})
	c.AppendEnd(nil)
	if b, ok := c.AppendEnd(nil); len(b) > 0 || !ok {
		t.Errorf("second end: %x, %v", b, ok)
	}
	if b, ok := c.AppendPing(nil, 1); len(b) != 5 || !ok {
		t.Errorf("no beats after the end: %x, %v", b, ok)
	}
}

// Durations in a Hello are rounded down, so that a peer does not beat too slowly.
func TestFrameHelloRoundsDown(t *testing.T) {
	for _, tc := range []struct{ say, hear time.Duration }{
		{0, 0},
		{-time.Second, 0},
		{1, time.Millisecond},
		{time.Millisecond - 1, time.Millisecond},
		{2*time.Millisecond - 1, time.Millisecond},
		{1500 * time.Microsecond, time.Millisecond},
		{30 * time.Second, 30 * time.Second},
		{math.MaxInt64, math.MaxInt64 / time.Millisecond * time.Millisecond},
	} {
		said := codec.Hello{Timeout: tc.say, Beat: tc.say, Evidence: codec.Messages}
		_, seen, err := decode(t, codec.Frame.Server(codec.Hello{}), codec.Frame.Client(said).AppendPending(nil))
		if want := (codec.Hello{Timeout: tc.hear, Beat: tc.hear, Evidence: codec.Messages}); err != nil || *seen.Hello != want {
			t.Errorf("said %v, heard %+v, %v", tc.say, seen.Hello, err)
		}
	}
	// More milliseconds than a Duration holds.
	_, seen, err := decode(t, codec.Frame.Client(codec.Hello{}), []byte("\x01\x0c\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00"))
	if want := math.MaxInt64 / time.Millisecond * time.Millisecond; err != nil || seen.Hello.Timeout != want {
		t.Errorf("heard %+v, %v", seen.Hello, err)
	}
}

// Characters in a Close's text that the peer would reject are replaced.
func TestFrameCloseTextIsCleaned(t *testing.T) {
	for _, tc := range []struct{ say, hear string }{
		{"", ""},
		{"silent for 30s", "silent for 30s"},
		{"two\nlines\x00\x7f\u009b", "two lines   "},
		{"not \xff UTF-8", "not \ufffd UTF-8"},
		{strings.Repeat("x", 300), strings.Repeat("x", 256)},
		{strings.Repeat("x", 255) + "é", strings.Repeat("x", 255)},
		{strings.Repeat("\xff", 300), strings.Repeat("\ufffd", 85)},
	} {
		b, _ := codec.Frame.Client(codec.Hello{}).AppendClose(nil, 9, tc.say)
		_, seen, err := decode(t, codec.Frame.Server(codec.Hello{}), b)
		if err != nil || seen.Close == nil || *seen.Close != (codec.Close{Code: 9, Text: tc.hear}) {
			t.Errorf("said %q, heard %+v, %v", tc.say, seen.Close, err)
		}
	}
}

func TestFrameHeaderSize(t *testing.T) {
	c := codec.Frame.Client(codec.Hello{})
	c.AppendPending(nil)
	for _, tc := range []struct{ payload, size int }{{1, 2}, {127, 2}, {128, 3}, {16383, 3}, {16384, 4}, {codec.MaxFrame, 4}} {
		if got := header(c, make([]byte, tc.payload)); len(got) != tc.size {
			t.Errorf("header of %d bytes is %x", tc.payload, got)
		}
	}
	if got := header(c, nil); len(got) > 0 {
		t.Errorf("header of nothing is %x", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("a frame larger than MaxFrame was begun")
		}
	}()
	header(c, make([]byte, codec.MaxFrame+1))
}
