package codec_test

import (
	"testing"

	"github.com/livenet/livenet/codec"
)

// CanClose says in advance whether AppendClose can send a reason.
func TestCanClose(t *testing.T) {
	auto := codec.Auto.Server(codec.Hello{})
	for _, test := range []struct {
		coder codec.Coder
		want  bool
	}{{codec.Raw.Server(codec.Hello{}), false}, {codec.Line.Client(codec.Hello{}), false}, {codec.Frame.Server(codec.Hello{}), true}, {codec.Auto.Client(codec.Hello{}), true}, {auto, false}} {
		if got := test.coder.CanClose(); got != test.want {
			t.Errorf("%T: %v", test.coder, got)
		}
	}
	b := make([]byte, auto.Headroom()+len("\xfeLN\x01"))
	copy(b[auto.Headroom():], "\xfeLN\x01")
	auto.Decode(b, len("\xfeLN\x01"))
	if !auto.CanClose() {
		t.Error("auto can't, though the peer speaks in frames")
	}
}
