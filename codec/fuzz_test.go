package codec_test

import (
	"bytes"
	"math"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/livenet/livenet/codec"
)

// checkAgainst plays input whole, split as cuts says, and byte by byte. Each must give the
// result of the reference decoder.
func checkAgainst(t *testing.T, fresh func() codec.Coder, reference func([]byte) transcript, input, cuts []byte) {
	t.Helper()
	whole := play(t, fresh(), [][]byte{input})
	same := func(how string, reads [][]byte) {
		if got := play(t, fresh(), reads); got != whole {
			t.Fatalf("%q, cut %s:\n  got %+v\nwhole %+v", abridged(input), how, got, whole)
		}
	}
	same("as asked", pieces(input, cuts))
	if len(input) <= 4096 {
		same("byte by byte", cut(input, every(1, len(input))))
	}
	if whole.fail != "" {
		whole.fail = failed
	}
	if want := reference(input); whole != want {
		t.Fatalf("%q:\n      got %+v\nreference %+v", abridged(input), whole, want)
	}
}

func abridged(input []byte) []byte { return input[:min(len(input), 256)] }

// pieces splits input into reads. cuts are the sizes of the first ones, and the rest is one
// read. Reads may be empty.
func pieces(input, cuts []byte) (reads [][]byte) {
	for _, size := range cuts {
		k := min(int(size), len(input))
		reads = append(reads, input[:k])
		input = input[k:]
	}
	return append(reads, input)
}

// padded replaces the first '*' of input by n bytes, so that the fuzzer reaches the limits
// with little input.
func padded(input []byte, n uint16) []byte {
	before, after, _ := bytes.Cut(input, []byte("*"))
	return bytes.Join([][]byte{before, after}, bytes.Repeat([]byte("x"), int(n)))
}

// unread is a raw Coder without the count of messages, which depends on the reads.
type unread struct {
	codec.Coder
	t *testing.T
}

func (u unread) Decode(b []byte, n int) (int, codec.Seen, error) {
	m, seen, err := u.Coder.Decode(b, n)
	if seen.Messages != min(m, 1) {
		u.t.Fatalf("a read that passed %d bytes is %d messages", m, seen.Messages)
	}
	seen.Messages = 0
	return m, seen, err
}

func FuzzRaw(f *testing.F) {
	f.Fuzz(func(t *testing.T, input, cuts []byte) {
		checkAgainst(t, func() codec.Coder { return unread{codec.Raw.Server(codec.Hello{}), t} }, referenceRaw, input, cuts)
	})
}

func FuzzLine(f *testing.F) {
	f.Fuzz(func(t *testing.T, input []byte, pad uint16, cuts []byte) {
		checkAgainst(t, server(codec.Line), referenceLine, padded(input, pad), cuts)
	})
}

func FuzzFrame(f *testing.F) {
	f.Fuzz(func(t *testing.T, input []byte, pad uint16, cuts []byte) {
		input = padded(input, pad)
		checkAgainst(t, server(codec.Frame), referenceFrameServer, input, cuts)
		checkAgainst(t, client(codec.Frame), referenceFrameClient, input, cuts)
	})
}

func FuzzAuto(f *testing.F) {
	f.Fuzz(func(t *testing.T, input, cuts []byte) {
		fresh := server(codec.Auto)
		if !bytes.HasPrefix(input, []byte("\xfeLN")) {
			fresh = func() codec.Coder { return unread{codec.Auto.Server(codec.Hello{}), t} }
		}
		checkAgainst(t, fresh, referenceAuto, input, cuts)
	})
}

// FuzzFrameRoundTrip lets both ends send in turn what script says, and checks that each
// receives exactly that.
func FuzzFrameRoundTrip(f *testing.F) {
	f.Fuzz(func(t *testing.T, script, payload []byte, timeout, beat int64, evidence uint8, code uint64, text string, cuts []byte) {
		said := codec.Hello{Timeout: time.Duration(timeout), Beat: time.Duration(beat), Evidence: []codec.Evidence{0, codec.Messages, codec.Beats}[evidence%3]}
		payload = payload[:min(len(payload), codec.MaxFrame)]
		client := &speaker{coder: codec.Frame.Client(said)}
		server := &speaker{coder: codec.Frame.Server(said)}
		client.wire = client.coder.AppendPending(nil)
		for _, op := range script {
			from, to := client, server
			if op&1 != 0 {
				from, to = server, client
			}
			from.say(op>>1, payload, code, text)
			if op&0x80 != 0 {
				to.hear(t, from, cuts)
			}
		}
		server.hear(t, client, cuts)
		server.wire = server.coder.AppendPending(server.wire)
		client.hear(t, server, cuts)
		server.check(t, client, said)
		client.check(t, server, said)
		if server.said.byes == 0 && client.heard.seq != client.pinged {
			t.Fatalf("ping %d was answered, %d was the last", client.heard.seq, client.pinged)
		}
	})
}

// speaker is one end of a round trip: what it sent, and what it received.
type speaker struct {
	coder       codec.Coder
	wire        []byte // said and not heard yet
	said, heard transcript
	pinged      uint32 // the last sequence number
}

func (s *speaker) say(op byte, payload []byte, code uint64, text string) {
	if s.said.byes > 0 {
		return
	}
	switch op % 6 {
	case 0:
		s.sayData(payload)
	case 1:
		s.pinged++
		s.wire, _ = s.coder.AppendPing(s.wire, s.pinged)
		s.said.beats++
	case 2:
		s.wire = s.coder.AppendPending(s.wire)
	case 3:
		s.wire, _ = s.coder.AppendEnd(s.wire)
		s.said.ends = 1
	case 4:
		s.wire, _ = s.coder.AppendClose(s.wire, code, text)
		s.said.byes, s.said.bye = 1, codec.Close{Code: code, Text: text}
	case 5:
		s.wire, _ = s.coder.AppendGoAway(s.wire, time.Duration(code)*time.Millisecond)
		s.said.goAway = true
	}
}

func (s *speaker) sayData(payload []byte) {
	if len(payload) == 0 || s.said.ends > 0 {
		return
	}
	s.wire = append(append(s.wire, header(s.coder, payload)...), payload...)
	s.said.data += string(payload)
	s.said.messages++
}

func (s *speaker) hear(t *testing.T, from *speaker, cuts []byte) {
	t.Helper()
	for _, read := range pieces(from.wire, cuts) {
		data, seen, err := decode(t, s.coder, read)
		if err != nil {
			t.Fatal(err)
		}
		if seen.Pongs > 0 && (seen.Seq == 0 || seen.Seq > s.pinged) {
			t.Fatalf("an answer to ping %d of %d", seen.Seq, s.pinged)
		}
		s.heard.add(data, seen)
	}
	from.wire = nil
}

func (s *speaker) check(t *testing.T, peer *speaker, hello codec.Hello) {
	t.Helper()
	if _, err := s.coder.Finish(); err != nil {
		t.Fatal(err)
	}
	got, want := s.heard, peer.said
	if got.data != want.data || got.messages != want.messages || got.ends != want.ends || got.byes != want.byes {
		t.Fatalf("heard %+v, of %+v", got, want)
	}
	if got.beats < want.beats { // got also counts answers
		t.Fatalf("heard %d beats of %d", got.beats, want.beats)
	}
	if want.byes > 0 && (got.bye.Code != want.bye.Code || !sameText(got.bye.Text, want.bye.Text)) {
		t.Fatalf("heard %+v, of %+v", got.bye, want.bye)
	}
	if got.hellos != 1 || !roundedRight(got.hello.Timeout, hello.Timeout) || !roundedRight(got.hello.Beat, hello.Beat) || got.hello.Evidence != hello.Evidence {
		t.Fatalf("heard %+v, of %+v", got.hello, hello)
	}
}

// sameText reports whether a text that needed no cleaning was received unchanged.
func sameText(received, sent string) bool {
	fit := utf8.ValidString(sent) && len(sent) <= codec.MaxText && !bytes.ContainsFunc([]byte(sent), isControl)
	return received == sent || !fit && len(received) <= codec.MaxText
}

func isControl(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 }

// roundedRight reports whether a duration was rounded as documented.
func roundedRight(received, sent time.Duration) bool {
	switch {
	case sent <= 0:
		return received == 0
	case sent < time.Millisecond:
		return received == time.Millisecond
	}
	return received <= sent && sent-received < time.Millisecond && received < math.MaxInt64
}
