package codec_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/livenet/livenet/codec"
)

// The reference decoders get the whole input at once and share no code with the package.
// They are simple rather than fast. Of an error they say only whether it was a limit: any
// text is replaced by failed.
const failed = "failed"

func referenceRaw(input []byte) transcript { return transcript{data: string(input)} }

func referenceLine(input []byte) (tr transcript) {
	for _, line := range strings.SplitAfter(string(input), "\n") {
		text, whole := strings.CutSuffix(line, "\n")
		switch word, _ := strings.CutSuffix(text, "\r"); {
		case whole && word == "PING":
			tr.beats++
			tr.owed = "PONG\n"
		case whole && word == "PONG":
			tr.beats++
			tr.answered = true
		case len(text) > codec.MaxLine:
			tr.data += text[:codec.MaxLine]
			tr.fail, tr.tooLarge = failed, true
			return tr
		default:
			tr.data += line
			if whole {
				tr.messages++
			}
		}
	}
	return tr
}

func referenceAuto(input []byte) transcript {
	if bytes.HasPrefix(input, []byte("\xfeLN")) {
		return referenceFrameServer(input)
	}
	return referenceRaw(input)
}

func referenceFrameServer(input []byte) (tr transcript) {
	const preface = "\xfeLN\x01"
	r := reference{in: input}
	if len(input) > 0 {
		if !bytes.HasPrefix(input, []byte(preface)) {
			return transcript{fail: failed}
		}
		r.in = input[len(preface):]
		r.tr.owed = "\x01\x03\x00\x00\x00"
	}
	return r.frames()
}

func referenceFrameClient(input []byte) transcript {
	r := reference{in: input}
	r.tr.owed = "\xfeLN\x01\x01\x03\x00\x00\x00"
	return r.frames()
}

type reference struct {
	in []byte
	tr transcript
}

// fault is the value of the panic that ends parsing.
type fault struct{ tooLarge bool }

func (r *reference) frames() (tr transcript) {
	pong := ""
	defer func() {
		tr = r.tr
		tr.owed += pong
		if p := recover(); p != nil {
			tr.fail, tr.tooLarge = failed, p.(fault).tooLarge
		}
	}()
	for len(r.in) > 0 && r.tr.byes == 0 {
		kind := r.take(1)[0]
		if (kind == 1) != (r.tr.hellos == 0) {
			panic(fault{})
		}
		switch kind {
		case 1:
			r.hello()
		case 2:
			r.data()
		case 3:
			pong = "\x04" + string(r.take(4))
			r.tr.beats++
		case 4:
			r.tr.seq, r.tr.answered = binary.BigEndian.Uint32(r.take(4)), true
			r.tr.beats++
		case 5:
			r.bye()
		case 6:
			r.uvarint()
			r.tr.goAway = true
		default:
			panic(fault{})
		}
	}
	return r.tr
}

func (r *reference) hello() {
	body := reference{in: r.take(r.length(1024))}
	r.tr.hello = codec.Hello{
		Timeout:  referenceDuration(body.uvarint()),
		Beat:     referenceDuration(body.uvarint()),
		Evidence: []codec.Evidence{0, codec.Messages, codec.Beats}[min(body.uvarint(), 2)],
	}
	r.tr.hellos++
}

func (r *reference) data() {
	if r.tr.ends > 0 {
		panic(fault{})
	}
	n := r.length(codec.MaxFrame)
	if n == 0 {
		r.tr.ends++
		return
	}
	r.tr.data += string(r.in[:min(n, len(r.in))]) // a part counts, too
	r.take(n)
	r.tr.messages++
}

func (r *reference) bye() {
	code := r.uvarint()
	text := string(r.take(r.length(codec.MaxText)))
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		panic(fault{})
	}
	r.tr.bye = codec.Close{Code: code, Text: text}
	r.tr.byes++
}

func (r *reference) take(n int) []byte {
	if len(r.in) < n {
		panic(fault{})
	}
	taken := r.in[:n]
	r.in = r.in[n:]
	return taken
}

func (r *reference) length(limit uint64) int {
	n := r.uvarint()
	if n > limit {
		panic(fault{tooLarge: true})
	}
	return int(n)
}

func (r *reference) uvarint() uint64 {
	v, n := binary.Uvarint(r.in)
	if n <= 0 || n != len(binary.AppendUvarint(nil, v)) {
		panic(fault{})
	}
	r.take(n)
	return v
}

func referenceDuration(millis uint64) time.Duration {
	d := time.Duration(millis) * time.Millisecond
	if millis > 9223372036854 { // the milliseconds that 64 bits of nanoseconds hold
		d = 9223372036854 * time.Millisecond
	}
	return d
}
