package tunnel

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/livenet/livenet/codec"
)

func TestHeader(t *testing.T) {
	long := strings.Repeat("n", MaxName)
	for _, test := range []struct {
		name, in, body string
		plain          bool
		err            string
	}{
		{"no name", "\xfeLT\x01\x00", "", false, ""},
		{"a name", "\xfeLT\x01\x05redis", "redis", false, ""},
		{"what follows is the service's", "\xfeLT\x01\x05redisPING", "redis", false, ""},
		{"the longest", "\xfeLT\x01\x80\x02" + long, long, false, ""},
		{"plain", "PING", "", true, ""},
		{"plain from the third byte on", "\xfeLX", "", true, ""},
		{"the frame protocol", "\xfeLN\x01", "", true, ""},
		{"another version", "\xfeLT\x02", "", false, "tunnel header of version 2, want 1"},
		{"too long", "\xfeLT\x01\x81\x02", "", false, "tunnel header of more than 256 bytes"},
		{"a length of 64 KB", "\xfeLT\x01\x80\x80\x04", "", false, "tunnel header of more than 256 bytes"},
		{"an overlong length", "\xfeLT\x01\x81\x00", "", false, "tunnel header with a length that is not minimally encoded"},
	} {
		// A byte at a time, as readHeader may read it.
		var body []byte
		var plain bool
		var err error
		need := 1
		for i := 0; i <= len(test.in) && need > 0; i++ {
			body, need, plain, err = parse([]byte(test.in[:i]), MaxName)
			if need > len(test.in)-i && !strings.HasPrefix(test.name, "plain") && test.name != "the frame protocol" && test.err == "" {
				t.Errorf("%s: after %d bytes it wants %d more", test.name, i, need)
			}
		}
		if broken, ok := errors.AsType[*codec.Error](err); test.err != "" && (!ok || broken.Text != test.err) || test.err == "" && err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if string(body) != test.body || plain != test.plain || need != 0 {
			t.Errorf("%s: %q, plain %v, %d more", test.name, body, plain, need)
		}
	}
}

// parse never asks for more bytes than the header has, and accepts only what appendHeader writes.
func FuzzHeader(f *testing.F) {
	for _, seed := range []string{"", "\xfe", "\xfeLT\x01\x05redis", "PING\r\n", "\xfeLT\x01\x80\x02", "\xfeLT\x01\xff\xff\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for i := 0; ; {
			body, need, plain, err := parse(in[:i], MaxName)
			switch {
			case err != nil, plain:
				return
			case need == 0:
				if again := appendHeader(nil, body); !bytes.Equal(again, in[:i]) || len(body) > MaxName {
					t.Errorf("%q is read as %q", in[:i], body)
				}
				return
			case need < 0 || need > MaxName:
				t.Fatalf("%q needs %d more", in[:i], need)
			}
			if i += need; i > len(in) {
				return
			}
		}
	})
}

func TestNames(t *testing.T) {
	for _, name := range []string{"a", "redis", "x.y-z_1", strings.Repeat("n", MaxName)} {
		if err := CheckName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "-a", "a.", "a b", "a/b", "é", strings.Repeat("n", MaxName+1)} {
		if CheckName(name) == nil {
			t.Errorf("%q is a name", name)
		}
	}
}
