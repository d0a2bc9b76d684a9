package yamux

import (
	"encoding/binary"
	"math"
)

// A header is the 12-byte frame header of yamux's spec.md. Only Data frames have a body.
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

// maxCode is the largest code that can be sent: in the length field of a Window Update with
// RST, or of Go Away, as in libp2p's specification.
const maxCode = math.MaxUint32

func newHeader(typ uint8, flags uint16, id, length uint32) header {
	h := make(header, headerSize)
	h[1] = typ
	binary.BigEndian.PutUint16(h[2:], flags)
	binary.BigEndian.PutUint32(h[4:], id)
	binary.BigEndian.PutUint32(h[8:], length)
	return h
}

func (h header) valid() bool          { return h[0] == 0 && h.typ() <= typeGoAway }
func (h header) typ() uint8           { return h[1] }
func (h header) ofStream() bool       { return h.typ() <= typeWindowUpdate }
func (h header) flags() uint16        { return binary.BigEndian.Uint16(h[2:]) }
func (h header) has(flag uint16) bool { return h.flags()&flag != 0 }
func (h header) id() uint32           { return binary.BigEndian.Uint32(h[4:]) }
func (h header) length() uint32       { return binary.BigEndian.Uint32(h[8:]) }

// body is how many bytes follow the header.
func (h header) body() uint32 {
	if h.typ() == typeData {
		return h.length()
	}
	return 0
}
