package codec_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
)

func readSpec(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// dumpLine is one line of the example conversation in docs/protocol.md.
type dumpLine struct {
	from  string // C or S
	bytes []byte
	says  string
}

func readDump(t *testing.T) (dump []dumpLine) {
	t.Helper()
	_, rest, _ := strings.Cut(readSpec(t), "```dump\n")
	block, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("the document has no dump")
	}
	form := regexp.MustCompile(`^([CS])  ((?:[0-9a-f]{2} )+) +(.+)$`)
	for line := range strings.Lines(block) {
		part := form.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if part == nil {
			t.Fatalf("%q is no line of a dump", line)
		}
		b, err := hex.DecodeString(strings.ReplaceAll(part[2], " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		dump = append(dump, dumpLine{part[1], b, part[3]})
	}
	return dump
}

// Each line of the conversation decodes to the description beside it.
func TestProtocolDumpDecodes(t *testing.T) {
	ends := map[string]codec.Coder{ // by the name of the sender
		"C": codec.Frame.Server(codec.Hello{}),
		"S": codec.Frame.Client(codec.Hello{}),
	}
	for _, line := range readDump(t) {
		data, seen, err := decode(t, ends[line.from], line.bytes)
		if err != nil {
			t.Fatal(err)
		}
		if got := describe(line.bytes, data, seen); !strings.HasPrefix(line.says, got) {
			t.Errorf("%x is %q, the document says %q", line.bytes, got, line.says)
		}
	}
	for _, end := range ends {
		if rest, err := end.Finish(); len(rest) > 0 || err != nil {
			t.Errorf("at the end: %x, %v", rest, err)
		}
	}
}

// describe returns what b was decoded to, in the document's words.
func describe(b, data []byte, seen codec.Seen) string {
	switch {
	case seen.Hello != nil && *seen.Hello == codec.Hello{}:
		return "Hello: asks for nothing"
	case seen.Hello != nil:
		return fmt.Sprintf("Hello: timeout %d, beat %d, evidence %d",
			seen.Hello.Timeout.Milliseconds(), seen.Hello.Beat.Milliseconds(), onWire(seen.Hello.Evidence))
	case seen.Close != nil:
		return fmt.Sprintf("Close: code %d (draining), %q", seen.Close.Code, seen.Close.Text)
	case seen.Messages == 1:
		return fmt.Sprintf("Data: %q", data)
	case seen.End:
		return "end of data"
	case seen.Pongs > 0:
		return fmt.Sprintf("Pong %d", seen.Seq)
	case seen.Beats == 1:
		return fmt.Sprintf("Ping %d", int(b[3])<<8|int(b[4]))
	}
	return "preface, version 1"
}

// Two Coders that have this conversation send these bytes.
func TestProtocolDumpEncodes(t *testing.T) {
	client := codec.Frame.Client(codec.Hello{})
	server := codec.Frame.Server(codec.Hello{Timeout: 30 * time.Second, Beat: 10 * time.Second, Evidence: codec.Messages})
	dump := readDump(t)

	// said compares what one end sends with the next lines of the document, and passes it
	// to the other end.
	said := func(from string, got []byte) {
		t.Helper()
		var want []byte
		for len(want) < len(got) && len(dump) > 0 && dump[0].from == from {
			want = append(want, dump[0].bytes...)
			dump = dump[1:]
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%s sent %x, the document says %x", from, got, want)
		}
		to := map[string]codec.Coder{"C": server, "S": client}[from]
		if _, _, err := decode(t, to, got); err != nil {
			t.Fatal(err)
		}
	}
	data := func(c codec.Coder, p string) []byte {
		return append(header(c, []byte(p)), p...)
	}
	first := func(b []byte, _ bool) []byte { return b }

	said("C", client.AppendPending(nil))
	said("S", server.AppendPending(nil))
	said("C", data(client, "hello, world"))
	said("S", data(server, "HELLO, WORLD"))
	said("C", first(client.AppendPing(nil, 1)))
	said("S", server.AppendPending(nil))
	said("C", first(client.AppendEnd(nil)))
	said("C", first(client.AppendPing(nil, 2)))
	said("C", first(client.AppendPing(nil, 3)))
	said("S", server.AppendPending(nil))
	said("S", first(server.AppendPing(nil, 256)))
	said("C", client.AppendPending(nil))
	said("S", first(server.AppendEnd(nil)))
	said("S", first(server.AppendClose(nil, 11, "back at noon")))
	if len(dump) > 0 {
		t.Errorf("the document goes on with %+v", dump)
	}
}

// onWire is the number of e in a Hello: 0 for Bytes.
func onWire(e codec.Evidence) codec.Evidence { return max(e, codec.Bytes) - codec.Bytes }

// The figures in the document are those of the package.
func TestProtocolFigures(t *testing.T) {
	spec := readSpec(t)
	for _, row := range []string{
		fmt.Sprintf("| payload of a Data frame | %d bytes |", codec.MaxFrame),
		fmt.Sprintf("| text of a Close | %d bytes |", codec.MaxText),
		fmt.Sprintf("| a line (section 9) | %d bytes |", codec.MaxLine),
		fmt.Sprintf("evidence | uvarint | what the sender counts as a sign of life: %d bytes, %d messages, %d beats |",
			onWire(codec.Bytes), onWire(codec.Messages), onWire(codec.Beats)),
	} {
		if !strings.Contains(spec, row) {
			t.Errorf("the document lacks %q", row)
		}
	}
}
