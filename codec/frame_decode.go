package codec

// frameState is what the decoder expects next.
type frameState uint8

const (
	inPreface frameState = iota
	inKind
	inHelloLen
	inTimeout // the first field of a Hello's body
	inBeat
	inEvidence
	inReserved // the rest of the body
	inDataLen
	inPayload
	inSeq
	inCode
	inTextLen
	inText
	inRetry // a GoAway's
	atEnd   // after Close
)

// stateNames are the states' names in errors.
var stateNames = [...]string{
	inPreface:  "the preface",
	inHelloLen: "the length of a Hello",
	inTimeout:  "the timeout in a Hello",
	inBeat:     "the beat in a Hello",
	inEvidence: "the evidence in a Hello",
	inReserved: "the reserved bytes of a Hello",
	inDataLen:  "the length of a Data frame",
	inPayload:  "the payload of a Data frame",
	inSeq:      "the sequence number of a beat",
	inCode:     "the code of a Close",
	inTextLen:  "the length of a Close's text",
	inText:     "the text of a Close",
	inRetry:    "the delay in a GoAway",
}

func (c *frameCoder) Decode(b []byte, n int) (m int, seen Seen, err error) {
	return c.decode(b, 0, n)
}

// decode is Decode for input that starts at b[off].
func (c *frameCoder) decode(b []byte, off, n int) (m int, seen Seen, err error) {
	in := b[off : off+n]
	for len(in) > 0 && c.err == nil {
		var k int
		switch c.state {
		case inPayload:
			k = c.takePayload(b[m:], in, &seen)
			m += k
		case inReserved:
			k = c.skipReserved(in, &seen)
		case inText:
			k = c.takeText(in, &seen)
		case atEnd:
			k = len(in) // input after Close is ignored
		default:
			k = 1
			c.takeByte(in[0], &seen)
		}
		in = in[k:]
	}
	if c.err != nil {
		return m, seen, c.err
	}
	return m, seen, nil
}

func (c *frameCoder) Finish() ([]byte, error) {
	switch {
	case c.err != nil:
		return nil, c.err
	case c.state == inKind || c.state == atEnd:
		return nil, nil
	case c.state == inPreface && c.left == 0: // no input at all
		return nil, nil
	}
	c.err = frameError("input ended within %s", stateNames[c.state])
	return nil, c.err
}

// takeByte processes a byte of the preface or of a header.
func (c *frameCoder) takeByte(x byte, seen *Seen) {
	switch c.state {
	case inPreface:
		c.takePreface(x)
	case inKind:
		c.takeKind(x)
	case inSeq:
		c.takeSeq(x, seen)
	default:
		c.takeNumber(x, seen)
	}
}

func (c *frameCoder) takePreface(x byte) {
	switch {
	case c.left == uint32(len(magic)):
		c.takeVersion(x)
	case x == magic[c.left]:
		c.left++
	default:
		c.err = frameError("byte %d is %#02x, not the preface's %#02x", c.left, x, magic[c.left])
	}
}

func (c *frameCoder) takeVersion(x byte) {
	if x != version {
		c.err = frameError("the peer speaks version %d, this end version %d", x, version)
		return
	}
	c.state = inKind
	c.hello.CompareAndSwap(helloNotYet, helloPending)
}

func (c *frameCoder) takeKind(x byte) {
	switch {
	case x < kindHello || x > kindGoAway:
		c.err = frameError("unknown kind %#02x", x)
		return
	case !c.helloSeen && x != kindHello:
		c.err = frameError("%s before Hello", kindNames[x])
		return
	case c.helloSeen && x == kindHello:
		c.err = frameError("a second Hello")
		return
	case c.ended && x == kindData:
		c.err = frameError("Data after the end of data")
		return
	}
	c.kind = x
	switch x {
	case kindHello:
		c.state = inHelloLen
	case kindData:
		c.state = inDataLen
	case kindPing, kindPong:
		c.state, c.left = inSeq, seqLen
	case kindClose:
		c.state = inCode
	case kindGoAway:
		c.state = inRetry
	}
}

func (c *frameCoder) takeSeq(x byte, seen *Seen) {
	c.number.value = c.number.value<<8 | uint64(x)
	c.left--
	if c.left == 0 {
		seq := uint32(c.number.value)
		c.number = uvarint{}
		c.seeBeat(seq, seen)
	}
}

func (c *frameCoder) seeBeat(seq uint32, seen *Seen) {
	c.state = inKind
	seen.Beats++
	if c.kind == kindPong {
		seen.Pongs++
		seen.Seq = seq
		return
	}
	// One Pong answers all earlier Pings, so that a flood of Pings does not cause a flood
	// of Pongs.
	c.pong.Store(pongPending | uint64(seq))
}

// takeNumber processes a byte of a varint, and the varint if that was its last byte.
func (c *frameCoder) takeNumber(x byte, seen *Seen) {
	if c.inBody() {
		c.left--
	}
	done, err := c.number.take(x)
	if err != nil {
		c.err = frameError("%s %v", stateNames[c.state], err)
		return
	}
	if done {
		value := c.number.value
		c.number = uvarint{}
		c.takeValue(value, seen)
	}
	if c.left == 0 && c.inBody() {
		c.err = frameError("%s is missing or cut short", stateNames[c.state])
	}
}

// inBody reports whether the decoder is within the known fields of a Hello, where left
// counts.
func (c *frameCoder) inBody() bool {
	return c.state >= inTimeout && c.state <= inEvidence
}

// takeValue processes a number of a header. It checks limits before it allocates anything.
func (c *frameCoder) takeValue(v uint64, seen *Seen) {
	switch c.state {
	case inHelloLen:
		if c.within(v, maxHello) {
			c.left, c.rare, c.state = uint32(v), new(rareFrame), inTimeout
		}
	case inTimeout:
		c.rare.hello.Timeout, c.state = duration(v), inBeat
	case inBeat:
		c.rare.hello.Beat, c.state = duration(v), inEvidence
	case inEvidence:
		c.rare.hello.Evidence, c.state = evidenceOf(v), inReserved
		if c.left == 0 {
			c.seeHello(seen)
		}
	case inDataLen:
		if c.within(v, MaxFrame) {
			c.startData(uint32(v), seen)
		}
	case inRetry:
		seen.GoAway, c.state = &GoAway{RetryAfter: duration(v)}, inKind
	case inCode:
		c.rare, c.state = &rareFrame{close: Close{Code: v}}, inTextLen
	case inTextLen:
		if c.within(v, MaxText) {
			c.startText(uint32(v), seen)
		}
	}
}

// within reports whether v is at most limit. If not, it sets the error.
func (c *frameCoder) within(v, limit uint64) bool {
	if v <= limit {
		return true
	}
	c.err = frameError("%s is %d, more than %d", stateNames[c.state], v, limit)
	c.err.TooLarge = true
	return false
}

func (c *frameCoder) startData(length uint32, seen *Seen) {
	if length == 0 {
		c.ended, c.state = true, inKind
		seen.End = true
		return
	}
	c.left, c.state = length, inPayload
}

func (c *frameCoder) startText(length uint32, seen *Seen) {
	c.left, c.state = length, inText
	if length == 0 {
		c.seeClose(seen)
		return
	}
	c.rare.text = make([]byte, 0, length)
}

// takePayload copies the payload in in to dst, which may be the same memory.
func (c *frameCoder) takePayload(dst, in []byte, seen *Seen) int {
	k := min(len(in), int(c.left))
	if &dst[0] != &in[0] { // often they are the same for a long payload
		copy(dst, in[:k])
	}
	c.left -= uint32(k)
	if c.left == 0 {
		c.state = inKind
		seen.Messages++
	}
	return k
}

func (c *frameCoder) skipReserved(in []byte, seen *Seen) int {
	k := min(len(in), int(c.left))
	c.left -= uint32(k)
	if c.left == 0 {
		c.seeHello(seen)
	}
	return k
}

func (c *frameCoder) seeHello(seen *Seen) {
	hello := c.rare.hello // a copy, so that the rest of rareFrame can be freed
	seen.Hello, c.rare = &hello, nil
	c.helloSeen, c.state = true, inKind
}

func (c *frameCoder) takeText(in []byte, seen *Seen) int {
	k := min(len(in), int(c.left))
	c.rare.text = append(c.rare.text, in[:k]...)
	c.left -= uint32(k)
	if c.left == 0 {
		c.seeClose(seen)
	}
	return k
}

func (c *frameCoder) seeClose(seen *Seen) {
	if !validText(c.rare.text) {
		c.err = frameError("%s is not UTF-8 or has control characters", stateNames[inText])
		return
	}
	c.rare.close.Text = string(c.rare.text)
	seen.Close, c.rare = &c.rare.close, nil
	c.state = atEnd
}
