package codec_test

import (
	"encoding/binary"
	"strings"
	"sync"
	"testing"

	"github.com/livenet/livenet/codec"
)

// One goroutine reads while another writes, under the race detector. The peer must be able to
// decode what was written.

func TestFrameReadsAndWritesAtOnce(t *testing.T) {
	const pings = 2000
	server := codec.Frame.Server(codec.Hello{})
	input := []byte(opening)
	for seq := range uint32(pings) {
		input = append(input, 3)
		input = binary.BigEndian.AppendUint32(input, seq+1)
		input = append(input, "\x02\x02hi"...)
	}

	var output []byte
	write := func() {
		output = append(append(output, header(server, []byte("yes"))...), "yes"...)
		output, _ = server.AppendPing(output, 7)
	}
	whileReading(t, server, input, write)
	output = server.AppendPending(output)
	output, _ = server.AppendClose(output, 0, "")

	client := codec.Frame.Client(codec.Hello{})
	var heard transcript
	for _, read := range cut(output, every(1, len(output))) {
		before := heard.seq
		data, seen, err := decode(t, client, read)
		if err != nil {
			t.Fatal(err)
		}
		heard.add(data, seen)
		if seen.Pongs > 0 && seen.Seq <= before {
			t.Fatalf("ping %d was answered after %d", seen.Seq, before)
		}
	}
	if heard.seq != pings || heard.hellos != 1 || heard.byes != 1 || strings.ReplaceAll(heard.data, "yes", "") != "" {
		t.Errorf("the peer heard of ping %d of %d, %d Hellos, %d Closes", heard.seq, pings, heard.hellos, heard.byes)
	}
}

// A Pong that becomes pending together with the Hello is not sent before it.
func TestFrameHelloBeforePong(t *testing.T) {
	input := []byte(opening + "\x03\x00\x00\x00\x01")
	for range 2000 {
		c := codec.Frame.Server(codec.Hello{})
		var output []byte
		var reading sync.WaitGroup
		reading.Go(func() { c.Decode(input, len(input)) })
		for len(output) < len(hello)+5 {
			output = c.AppendPending(output)
		}
		reading.Wait()
		if string(output) != hello+"\x04\x00\x00\x00\x01" {
			t.Fatalf("sent %x", output)
		}
	}
}

func TestLineReadsAndWritesAtOnce(t *testing.T) {
	c := codec.Line.Server(codec.Hello{})
	var output []byte
	write := func() {
		for _, p := range []string{"half ", "a line\n"} {
			output = append(c.AppendPending(output), p...)
			c.Sent([]byte(p))
		}
	}
	whileReading(t, c, []byte(strings.Repeat("hello\nPING\n", 2000)), write)
	output = c.AppendPending(output)
	if rest := strings.NewReplacer("half a line\n", "", "PONG\n", "").Replace(string(output)); rest != "" {
		t.Errorf("written was also %q", rest)
	}
	if !strings.Contains(string(output), "PONG\n") || c.Pending() {
		t.Error("no PONG, or one is still owed")
	}
}

// Reader and writer race to set auto's mode; both must see the same.
func TestAutoDetectsWhileWriting(t *testing.T) {
	outcomes := map[bool]int{}
	for range 2000 {
		c := codec.Auto.Server(codec.Hello{})
		var data string
		var hello bool
		var output []byte
		var both sync.WaitGroup
		both.Go(func() {
			for _, read := range cut([]byte(opening), every(1, len(opening))) {
				got, seen, _ := decode(t, c, read)
				data += string(got)
				hello = hello || seen.Hello != nil
			}
		})
		both.Go(func() {
			output = append(header(c, []byte("x")), 'x')
		})
		both.Wait()
		raw := string(output) == "x"
		outcomes[raw]++
		switch {
		case raw && (data != opening || hello):
			t.Fatalf("written as raw, read as %q", data)
		case !raw && (data != "" || !hello || !strings.HasPrefix(string(output), "\x01")):
			t.Fatalf("written as %x, read as %q", output, data)
		}
	}
	t.Logf("raw %d times, frame %d times", outcomes[true], outcomes[false])
}

// whileReading calls write repeatedly while another goroutine decodes input in small reads.
func whileReading(t *testing.T, c codec.Coder, input []byte, write func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		h := c.Headroom()
		for _, read := range cut(input, every(11, len(input))) {
			if _, _, err := c.Decode(append(make([]byte, h), read...), len(read)); err != nil {
				done <- err
				return
			}
			c.Pending()
		}
		done <- nil
	}()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
			write()
		}
	}
}
