package codec_test

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/livenet/livenet/codec"
)

// transcript is the sum of all that Decode and Finish return for an input.
type transcript struct {
	data     string
	messages int
	beats    int
	answered bool
	seq      uint32
	ends     int
	hello    codec.Hello
	hellos   int
	bye      codec.Close
	byes     int
	goAway   bool
	fail     string // the text of the error, if there was one
	tooLarge bool
	owed     string // what AppendPending appends afterwards
}

func (tr *transcript) add(data []byte, seen codec.Seen) {
	tr.data += string(data)
	tr.messages += seen.Messages
	tr.beats += seen.Beats
	if seen.Pongs > 0 {
		tr.answered, tr.seq = true, seen.Seq
	}
	if seen.End {
		tr.ends++
	}
	if seen.Hello != nil {
		tr.hello = *seen.Hello
		tr.hellos++
	}
	if seen.GoAway != nil {
		tr.goAway = true
	}
	if seen.Close != nil {
		tr.bye = *seen.Close
		tr.byes++
	}
}

const (
	free    = 0xEE // what the headroom is filled with
	foreign = 0xA5 // what is behind the bytes read
)

// decode passes one read to c and checks what must always hold for Decode.
func decode(t testing.TB, c codec.Coder, read []byte) ([]byte, codec.Seen, error) {
	t.Helper()
	h := c.Headroom()
	b := slices.Repeat([]byte{free}, h)
	b = append(b, read...)
	b = append(b, foreign, foreign)
	m, seen, err := c.Decode(b, len(read))
	if m < 0 || m > h+len(read) {
		t.Fatalf("Decode of %d bytes returned %d, headroom %d", len(read), m, h)
	}
	if tail := b[h+len(read):]; tail[0] != foreign || tail[1] != foreign {
		t.Fatalf("Decode wrote behind the bytes read")
	}
	return b[:m], seen, err
}

// play passes reads to c, one after the other, and then the end of input.
func play(t testing.TB, c codec.Coder, reads [][]byte) (tr transcript) {
	t.Helper()
	var err error
	for _, read := range reads {
		var data []byte
		var seen codec.Seen
		data, seen, err = decode(t, c, read)
		tr.add(data, seen)
		if err != nil {
			break
		}
	}
	if err == nil {
		var rest []byte
		rest, err = c.Finish()
		if len(rest) > c.Headroom() {
			t.Fatalf("Finish returned %d bytes, headroom %d", len(rest), c.Headroom())
		}
		tr.data += string(rest)
	}
	tr.note(t, err)
	tr.owed = string(c.AppendPending(nil))
	return tr
}

// note records err, which must be an Error whose text may be sent to the peer.
func (tr *transcript) note(t testing.TB, err error) {
	if err == nil {
		return
	}
	var e *codec.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is a %T, want *codec.Error", err)
	}
	if !utf8.ValidString(e.Text) || strings.ContainsFunc(e.Text, unicode.IsControl) || len(e.Text) > codec.MaxText {
		t.Fatalf("the text of an error is not fit for a Close: %q", e.Text)
	}
	tr.fail, tr.tooLarge = e.Text, e.TooLarge
}

// cuttings yields ways to split n bytes into reads: not at all, at each position, at each two
// positions (of short inputs), and into pieces of 1 to 7 bytes.
func cuttings(n int) iter.Seq[[]int] {
	const short = 48
	return func(yield func([]int) bool) {
		if !yield(nil) {
			return
		}
		for i := 1; i < n; i++ {
			if !yield([]int{i}) {
				return
			}
			for j := i + 1; j < n && n <= short; j++ {
				if !yield([]int{i, j}) {
					return
				}
			}
		}
		for size := 1; size <= 7; size++ {
			if !yield(every(size, n)) {
				return
			}
		}
	}
}

func every(size, n int) (cuts []int) {
	for i := size; i < n; i += size {
		cuts = append(cuts, i)
	}
	return cuts
}

// cut splits input at cuts.
func cut(input []byte, cuts []int) (reads [][]byte) {
	last := 0
	for _, i := range cuts {
		reads = append(reads, input[last:i])
		last = i
	}
	return append(reads, input[last:])
}

// playEverySplit plays input in all cuttings and checks that each results in want.
func playEverySplit(t *testing.T, make func() codec.Coder, input string, want transcript) {
	t.Helper()
	for cuts := range cuttings(len(input)) {
		got := play(t, make(), cut([]byte(input), cuts))
		if got != want {
			t.Fatalf("%q cut at %v:\n got %+v\nwant %+v", input, cuts, got, want)
		}
	}
}

func server(c codec.Codec) func() codec.Coder {
	return func() codec.Coder { return c.Server(codec.Hello{}) }
}

func client(c codec.Codec) func() codec.Coder {
	return func() codec.Coder { return c.Client(codec.Hello{}) }
}

func TestByName(t *testing.T) {
	for _, c := range []codec.Codec{codec.Raw, codec.Line, codec.Frame, codec.Auto} {
		got, err := codec.ByName(c.Name())
		if got != c || err != nil {
			t.Errorf("ByName(%q) = %v, %v", c.Name(), got, err)
		}
	}
	_, err := codec.ByName("morse")
	if err == nil {
		t.Fatal("an unknown name is no error")
	}
	for _, word := range []string{"morse", "auto", "frame", "line", "raw"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not name %s", err, word)
		}
	}
}

// Both ends of each codec decode what the other encodes.
func TestRoundTrip(t *testing.T) {
	for _, cd := range []codec.Codec{codec.Raw, codec.Line, codec.Frame, codec.Auto} {
		t.Run(cd.Name(), func(t *testing.T) {
			client, server := cd.Client(codec.Hello{}), cd.Server(codec.Hello{})
			const question, answer = "how are you?\n", "alive\n"
			if got := exchange(t, client, server, question); got != question {
				t.Errorf("server got %q", got)
			}
			if got := exchange(t, server, client, answer); got != answer {
				t.Errorf("client got %q", got)
			}
			ping, can := client.AppendPing(nil, 77)
			if !can {
				return
			}
			if _, seen, err := decode(t, server, ping); seen.Beats != 1 || err != nil {
				t.Errorf("a beat came to %+v, %v", seen, err)
			}
			if !server.Pending() {
				t.Error("no answer is owed")
			}
			_, seen, err := decode(t, client, server.AppendPending(nil))
			if seen.Beats != 1 || seen.Pongs == 0 || err != nil {
				t.Errorf("the answer came to %+v, %v", seen, err)
			}
			if server.Pending() {
				t.Error("an answer is still owed")
			}
		})
	}
}

// header returns the pending control frames and the header of data p.
func header(c codec.Coder, p []byte) []byte {
	c.Begin()
	return c.AppendDataHeader(c.AppendPending(nil), p)
}

// exchange sends from's pending control frames and data to to.
func exchange(t *testing.T, from, to codec.Coder, data string) string {
	t.Helper()
	b := header(from, []byte(data))
	got, _, err := decode(t, to, append(b, data...))
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

// After an error all input is ignored.
func TestErrorIsFinal(t *testing.T) {
	for _, tc := range []struct {
		codec codec.Codec
		bad   string
	}{
		{codec.Line, strings.Repeat("x", codec.MaxLine+1)},
		{codec.Frame, "GET / HTTP/1.1"},
		{codec.Auto, "\xfeLN\x09"},
	} {
		c := tc.codec.Server(codec.Hello{})
		_, _, first := decode(t, c, []byte(tc.bad))
		if first == nil {
			t.Fatalf("%s: no error", tc.codec.Name())
		}
		data, seen, err := decode(t, c, []byte("\xfeLN\x01\nPING\n"))
		if len(data) != 0 || seen != (codec.Seen{}) || err != first {
			t.Errorf("%s: after the error came %q, %+v, %v", tc.codec.Name(), data, seen, err)
		}
	}
}

func TestErrorText(t *testing.T) {
	var err error = &codec.Error{Text: "what is wrong"}
	if fmt.Sprint(err) != "what is wrong" {
		t.Error(err)
	}
}
