package codec_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
)

// Of data that has not been sent nothing is left but the Hello that went before it.
func TestRetract(t *testing.T) {
	for _, test := range []struct {
		name  string
		coder codec.Coder
		keeps bool
	}{
		{"raw", codec.Raw.Server(codec.Hello{}), false},
		{"line", codec.Line.Server(codec.Hello{}), false},
		{"frame, server", codec.Frame.Server(codec.Hello{}), true},
		{"frame, client", codec.Frame.Client(codec.Hello{Timeout: time.Hour}), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			header := test.coder.AppendDataHeader(nil, []byte("data"))
			kept := test.coder.Retract(header)
			if (len(kept) > 0) != test.keeps || !bytes.HasPrefix(header, kept) {
				t.Errorf("of %q %q is kept", header, kept)
			}
			again := test.coder.AppendDataHeader(nil, []byte("data"))
			if got := append(bytes.Clone(kept), again...); string(got) != string(header) {
				t.Errorf("%q is sent instead of %q", got, header)
			}
			if len(test.coder.Retract(again)) > 0 {
				t.Error("the Hello is kept again")
			}
		})
	}
}

// Whether a reason can be said is known before it is.
func TestTells(t *testing.T) {
	auto := codec.Auto.Server(codec.Hello{})
	for _, test := range []struct {
		coder codec.Coder
		want  bool
	}{{codec.Raw.Server(codec.Hello{}), false}, {codec.Line.Client(codec.Hello{}), false}, {codec.Frame.Server(codec.Hello{}), true}, {codec.Auto.Client(codec.Hello{}), true}, {auto, false}} {
		if got := test.coder.Tells(); got != test.want {
			t.Errorf("%T: %v", test.coder, got)
		}
	}
	b := make([]byte, auto.Headroom()+len("\xfeLN\x01"))
	copy(b[auto.Headroom():], "\xfeLN\x01")
	auto.Decode(b, len("\xfeLN\x01"))
	if !auto.Tells() {
		t.Error("auto can't, though the peer speaks in frames")
	}
}
