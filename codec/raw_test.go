package codec_test

import (
	"testing"

	"github.com/livenet/livenet/codec"
)

func TestRawPassesAll(t *testing.T) {
	for _, input := range []string{"", "x", "PING\n", "\xfeLN\x01\x01\x03", "\x00\x00"} {
		for cuts := range cuttings(len(input)) {
			got := play(t, codec.Raw.Server(codec.Hello{}), cut([]byte(input), cuts))
			got.messages = 0 // each read is one
			if want := (transcript{data: input}); got != want {
				t.Errorf("%q cut at %v: %+v", input, cuts, got)
			}
		}
	}
}

func TestRawReadIsMessage(t *testing.T) {
	c := codec.Raw.Server(codec.Hello{})
	for n, want := range []int{0, 1, 1, 1} {
		if _, seen, _ := decode(t, c, make([]byte, n)); seen.Messages != want {
			t.Errorf("a read of %d bytes is %d messages", n, seen.Messages)
		}
	}
}

func TestRawSendsNoControlFrame(t *testing.T) {
	c := codec.Raw.Client(codec.Hello{Timeout: 1, Beat: 1})
	saysNothing(t, c, "hello")
}

// saysNothing checks that c adds nothing to p and has no control frames.
func saysNothing(t *testing.T, c codec.Coder, p string) {
	t.Helper()
	if c.Pending() {
		t.Error("Pending")
	}
	b := header(c, []byte(p))
	b, ping := c.AppendPing(b, 1)
	b, end := c.AppendEnd(b)
	b, bye := c.AppendClose(b, 1, "x")
	if len(b) > 0 || ping || end || bye {
		t.Errorf("appended %q; ping %v, end %v, bye %v", b, ping, end, bye)
	}
}
