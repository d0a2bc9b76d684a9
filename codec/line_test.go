package codec_test

import (
	"strings"
	"testing"

	"github.com/livenet/livenet/codec"
)

func TestLine(t *testing.T) {
	const owed = "PONG\n"
	for _, tc := range []struct {
		name, input string
		want        transcript
	}{
		{"nothing", "", transcript{}},
		{"a line", "hello\n", transcript{data: "hello\n", messages: 1}},
		{"carriage return stays", "hello\r\n", transcript{data: "hello\r\n", messages: 1}},
		{"empty lines", "\n\n\r\n", transcript{data: "\n\n\r\n", messages: 3}},
		{"unfinished", "a\nb", transcript{data: "a\nb", messages: 1}},
		{"ping", "PING\n", transcript{beats: 1, owed: owed}},
		{"ping with carriage return", "PING\r\n", transcript{beats: 1, owed: owed}},
		{"pong", "PONG\n", transcript{beats: 1, answered: true}},
		{"pong with carriage return", "PONG\r\n", transcript{beats: 1, answered: true}},
		{"pings are answered by one pong", "PING\nPING\nPING\n", transcript{beats: 3, owed: owed}},
		{"between lines", "a\nPING\nb\nPONG\nc\n",
			transcript{data: "a\nb\nc\n", messages: 3, beats: 2, answered: true, owed: owed}},
		{"before an unfinished line", "PING\nPIN", transcript{data: "PIN", beats: 1, owed: owed}},
		{"not at a line's start", "xPING\n", transcript{data: "xPING\n", messages: 1}},
		{"not a whole line", "PINGx\nPING \n", transcript{data: "PINGx\nPING \n", messages: 2}},
		{"prefixes", "P\nPI\nPIN\nPO\nPON\n", transcript{data: "P\nPI\nPIN\nPO\nPON\n", messages: 5}},
		{"prefixes with carriage return", "P\r\nPI\r\nPIN\r\n", transcript{data: "P\r\nPI\r\nPIN\r\n", messages: 3}},
		{"mixed words", "PONGG\nPOING\nPIONG\nPIPONG\n", transcript{data: "PONGG\nPOING\nPIONG\nPIPONG\n", messages: 4}},
		{"two carriage returns", "PING\r\r\n", transcript{data: "PING\r\r\n", messages: 1}},
		{"carriage return, no newline", "PING\rx\n", transcript{data: "PING\rx\n", messages: 1}},
		{"lower case", "ping\n", transcript{data: "ping\n", messages: 1}},
		{"restart of a word", "PPING\nPINPING\n", transcript{data: "PPING\nPINPING\n", messages: 2}},
		{"end within a beat", "PING", transcript{data: "PING"}},
		{"end after its carriage return", "PONG\r", transcript{data: "PONG\r"}},
		{"any bytes", "\x00\xff\xfe\nPING\n\x80", transcript{data: "\x00\xff\xfe\n\x80", messages: 1, beats: 1, owed: owed}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			playEverySplit(t, server(codec.Line), tc.input, tc.want)
			playEverySplit(t, client(codec.Line), tc.input, tc.want)
		})
	}
}

// Only bytes that may still become a beat are held back.
func TestLineHoldsOnlyPossibleBeats(t *testing.T) {
	for _, tc := range []struct{ input, passed string }{
		{"x", "x"},
		{"PX", "PX"},
		{"a\nb", "a\nb"},
		{"P", ""},
		{"a\nPING\r", "a\n"},
		{"aPING", "aPING"},
	} {
		data, _, err := decode(t, codec.Line.Server(codec.Hello{}), []byte(tc.input))
		if string(data) != tc.passed || err != nil {
			t.Errorf("%q passed %q, %v", tc.input, data, err)
		}
	}
}

func TestLineTooLong(t *testing.T) {
	longest := strings.Repeat("x", codec.MaxLine)
	const text = "line: longer than 65536 bytes"
	for _, tc := range []struct {
		name, input string
		want        transcript
	}{
		{"at the limit", longest + "\n", transcript{data: longest + "\n", messages: 1}},
		{"unfinished at the limit", longest, transcript{data: longest}},
		{"one more", longest + "x\n", transcript{data: longest, fail: text, tooLarge: true}},
		{"unfinished and one more", longest + "x", transcript{data: longest, fail: text, tooLarge: true}},
		{"carriage return counts", longest + "\r\n", transcript{data: longest, fail: text, tooLarge: true}},
		{"starts like a beat", "PING" + longest[4:] + "x", transcript{data: "PING" + longest[4:], fail: text, tooLarge: true}},
		{"after others", "a\nPING\n" + longest + "x\nb\n",
			transcript{data: "a\n" + longest, messages: 1, beats: 1, owed: "PONG\n", fail: text, tooLarge: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, cuts := range [][]int{nil, {1}, {5}, {9}, {codec.MaxLine}, {codec.MaxLine + 1}, {3, codec.MaxLine - 1}, every(1000, len(tc.input))} {
				if len(cuts) > 0 && cuts[len(cuts)-1] > len(tc.input) {
					continue
				}
				if got := play(t, codec.Line.Server(codec.Hello{}), cut([]byte(tc.input), cuts)); got != tc.want {
					t.Errorf("cut at %v: %d bytes, %d messages, %q", cuts, len(got.data), got.messages, got.fail)
				}
			}
		})
	}
}

// A beat is never sent within a line of the application.
func TestLineWaitsForLineStart(t *testing.T) {
	c := codec.Line.Server(codec.Hello{})
	decode(t, c, []byte("PING\n"))
	c.Sent([]byte("half a "))
	if got := c.AppendPending(nil); len(got) > 0 {
		t.Errorf("%q within a line", got)
	}
	if !c.Pending() {
		t.Error("the debt is gone")
	}
	if got, ok := c.AppendPing(nil, 1); len(got) > 0 || ok {
		t.Errorf("%q within a line", got)
	}
	c.Sent([]byte("line\n"))
	if got := c.AppendPending(nil); string(got) != "PONG\n" {
		t.Errorf("owed %q at the line's start", got)
	}
	if c.Pending() || len(c.AppendPending(nil)) > 0 {
		t.Error("the debt stands though it was settled")
	}
	if got, ok := c.AppendPing(nil, 1); string(got) != "PING\n" || !ok {
		t.Errorf("ping %q at the line's start", got)
	}
}

func TestLineHasOnlyBeats(t *testing.T) {
	c := codec.Line.Client(codec.Hello{})
	b := header(c, []byte("x\n"))
	b, end := c.AppendEnd(b)
	b, bye := c.AppendClose(b, 1, "x")
	if len(b) > 0 || end || bye {
		t.Errorf("appended %q; end %v, bye %v", b, end, bye)
	}
}
