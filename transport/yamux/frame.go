package yamux

import "encoding/binary"

// The framing is that of yamux's spec.md: a header of twelve bytes, and the
// body that a Data frame has.
//
//	version 8 | type 8 | flags 16 | stream 32 | length 32
type header []byte

const headerSize = 12

const (
	typeData = iota
	typeWindowUpdate
	typePing
	typeGoAway
)

const (
	flagSYN = 1 << iota
	flagACK
	flagFIN
	flagRST
)

// What Go Away says, by the specification.
const (
	goAwayNormal = iota
	goAwayProtocol
	goAwayInternal
)

func newHeader(typ uint8, flags uint16, id, length uint32) header {
	h := make(header, headerSize)
	h[1] = typ
	h.setFlags(flags)
	binary.BigEndian.PutUint32(h[4:], id)
	h.setLength(length)
	return h
}

func (h header) typ() uint8         { return h[1] }
func (h header) flags() uint16      { return binary.BigEndian.Uint16(h[2:]) }
func (h header) id() uint32         { return binary.BigEndian.Uint32(h[4:]) }
func (h header) length() uint32     { return binary.BigEndian.Uint32(h[8:]) }
func (h header) setFlags(f uint16)  { binary.BigEndian.PutUint16(h[2:], f) }
func (h header) setLength(n uint32) { binary.BigEndian.PutUint32(h[8:], n) }

func (h header) has(flag uint16) bool { return h.flags()&flag != 0 }

// opens says that a stream begins with the frame.
func (h header) opens() bool { return h.typ() <= typeWindowUpdate && h.has(flagSYN) }

// body is how many bytes follow the header.
func (h header) body() uint32 {
	if h.typ() == typeData {
		return h.length()
	}
	return 0
}

// Our codes travel in the length field, under the letters LN. The specification
// leaves that range of Go Away's codes free. In the Window Update that resets a
// stream, a length would enlarge the window of a stream that is gone.
const (
	codeRange = 'L'<<24 | 'N'<<16
	maxCode   = 1<<16 - 1
	noCode    = maxCode + 1
)

// codeOf returns the application's code that a length field carries.
func codeOf(length uint32) (code uint64, ok bool) {
	return uint64(length & maxCode), length&^maxCode == codeRange
}

// resetFrame resets a stream.
func resetFrame(id uint32, code uint64) header {
	length := uint32(0)
	if code <= maxCode {
		length = codeRange | uint32(code)
	}
	return newHeader(typeWindowUpdate, flagRST, id, length)
}

// goAwayFrame ends a session. Code 0 is the normal end, in the protocol's own
// terms. There is no frame for a code that it cannot carry.
func goAwayFrame(code uint64) header {
	switch {
	case code == 0:
		return newHeader(typeGoAway, 0, 0, goAwayNormal)
	case code <= maxCode:
		return newHeader(typeGoAway, 0, 0, codeRange|uint32(code))
	}
	return nil
}
