package codec_test

import (
	"testing"

	"github.com/livenet/livenet/codec"
)

func TestAutoRaw(t *testing.T) {
	for _, input := range []string{
		"", "x", "hello\n", "\xfe", "\xfeL", "\xfex", "\xfe\xfe", "\xfe\xfeLN\x01", "\xfeLL", "\xfeLx" + opening, "x" + opening, "L", "N\x01",
	} {
		for cuts := range cuttings(len(input)) {
			got := play(t, codec.Auto.Server(codec.Hello{}), cut([]byte(input), cuts))
			got.messages = 0 // each read that passes anything is one
			if want := (transcript{data: input}); got != want {
				t.Errorf("%q cut at %v: %+v", input, cuts, got)
			}
		}
	}
}

func TestAutoFrame(t *testing.T) {
	playEverySplit(t, server(codec.Auto), opening+"\x02\x02hi\x03\x00\x00\x00\x01\x02\x00\x05\x00\x00",
		transcript{hellos: 1, messages: 1, data: "hi", beats: 1, ends: 1, byes: 1, owed: hello + "\x04\x00\x00\x00\x01"})
}

// Bytes that may be the preface are held. The first byte that differs releases all of them.
func TestAutoReleasesHeldBytes(t *testing.T) {
	c := codec.Auto.Server(codec.Hello{})
	for _, step := range []struct {
		read, passed string
		messages     int
	}{{"\xfe", "", 0}, {"L", "", 0}, {"x", "\xfeLx", 1}, {"\xfe", "\xfe", 1}} {
		data, seen, err := decode(t, c, []byte(step.read))
		if string(data) != step.passed || seen.Messages != step.messages || err != nil {
			t.Errorf("%q passed %q, %+v, %v", step.read, data, seen, err)
		}
	}
}

// Before the mode is known, no control frame can be sent.
func TestAutoSendsNoControlFrameBeforeTheModeIsKnown(t *testing.T) {
	c := codec.Auto.Server(codec.Hello{})
	if b, ok := c.AppendPing(nil, 1); len(b) > 0 || ok {
		t.Errorf("ping: %x, %v", b, ok)
	}
	if b, ok := c.AppendClose(nil, 1, "x"); len(b) > 0 || ok {
		t.Errorf("bye: %x, %v", b, ok)
	}
	if b := c.AppendPending(nil); len(b) > 0 || c.Pending() {
		t.Errorf("owed: %x", b)
	}
	// None of this has made it raw.
	if _, seen, err := decode(t, c, []byte(opening)); seen.Hello == nil || err != nil {
		t.Errorf("then came %+v, %v", seen, err)
	}
}

func TestAutoBecomesRawByWriting(t *testing.T) {
	for name, write := range map[string]func(codec.Coder) []byte{
		"data": func(c codec.Coder) []byte { return header(c, []byte("welcome\n")) },
		"end": func(c codec.Coder) []byte {
			b, can := c.AppendEnd(nil)
			if can {
				t.Error("raw can't say that its data ends")
			}
			return b
		},
	} {
		for held := range 3 {
			c := codec.Auto.Server(codec.Hello{})
			decode(t, c, []byte(opening[:held]))
			if b := write(c); len(b) > 0 {
				t.Errorf("%s: header %x", name, b)
			}
			data, seen, err := decode(t, c, []byte(opening[held:]))
			if string(data) != opening || seen.Hello != nil || err != nil {
				t.Errorf("%s, %d bytes held: %q, %+v, %v", name, held, data, seen, err)
			}
			saysNothing(t, c, "more")
		}
	}
}

func TestAutoBecomesRawByEnd(t *testing.T) {
	c := codec.Auto.Server(codec.Hello{})
	decode(t, c, []byte("\xfe"))
	header(c, []byte("x"))
	if rest, err := c.Finish(); string(rest) != "\xfe" || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
	saysNothing(t, c, "more")
}
