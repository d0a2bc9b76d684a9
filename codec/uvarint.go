package codec

import "errors"

// uvarint decodes an unsigned varint, as in encoding/binary, byte by byte. Only the shortest
// encoding of a value is valid.
type uvarint struct {
	value uint64
	taken uint8 // bytes
}

var (
	errNotMinimal = errors.New("is not minimally encoded")
	errOverlong   = errors.New("does not fit 64 bits")
)

// take adds the next byte and reports whether it was the last one.
func (u *uvarint) take(x byte) (done bool, err error) {
	if u.taken == 9 && x > 1 { // nine bytes hold 63 bits
		return false, errOverlong
	}
	u.value |= uint64(x&0x7f) << (7 * u.taken)
	u.taken++
	if x >= 0x80 {
		return false, nil
	}
	if x == 0 && u.taken > 1 {
		return false, errNotMinimal
	}
	return true, nil
}
