package tunnel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"regexp"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/liveness"
)

// A header is at the beginning of a named stream, and of each end's data on the control
// stream: docs/protocol.md, section 12.
const (
	magic   = "\xfeLT"
	version = 1
)

// The maximum bytes of a header's body.
const (
	MaxName     = 256
	maxRegister = 4096
)

// maxLength is the maximum bytes of a header's length.
const maxLength = 2

// CheckName returns an error unless name is valid as the name of a service.
func CheckName(name string) error {
	if len(name) > MaxName || !validName.MatchString(name) {
		return fmt.Errorf("a service's name has letters, digits, and . _ or - in between, %d at most", MaxName)
	}
	return nil
}

var validName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)

func appendHeader(dst, body []byte) []byte {
	dst = append(dst, magic...)
	dst = append(dst, version)
	dst = binary.AppendUvarint(dst, uint64(len(body)))
	return append(dst, body...)
}

// parse parses the header at the beginning of b, whose body has at most most bytes. need is the
// minimum number of bytes missing; if it is 0, the header is complete, or plain is true: b
// doesn't begin with a header. An error is a [*codec.Error].
func parse(b []byte, most int) (body []byte, need int, plain bool, err error) {
	for i := range magic {
		if i == len(b) {
			return nil, len(magic) + 1 - i, false, nil
		}
		if b[i] != magic[i] {
			return nil, 0, true, nil
		}
	}
	rest := b[len(magic):]
	switch {
	case len(rest) == 0:
		return nil, 1, false, nil
	case rest[0] != version:
		return nil, 0, false, &codec.Error{Text: fmt.Sprintf("tunnel header of version %d, want %d", rest[0], version)}
	}
	rest = rest[1:]
	length, n := binary.Uvarint(rest[:min(len(rest), maxLength)])
	switch {
	case n == 0 && len(rest) >= maxLength, n > 0 && length > uint64(most):
		return nil, 0, false, &codec.Error{TooLarge: true, Text: fmt.Sprintf("tunnel header of more than %d bytes", most)}
	case n == 0:
		return nil, 1, false, nil
	case n > 1 && rest[n-1] == 0:
		return nil, 0, false, &codec.Error{Text: "tunnel header with a length that is not minimally encoded"}
	}
	rest = rest[n:]
	if missing := int(length) - len(rest); missing > 0 {
		return nil, missing, false, nil
	}
	return rest[:length], 0, false, nil
}

// errSilent is the error of a stream whose header is not complete in time.
var errSilent = errors.New("tunnel: no header in time")

// readHeader reads a header from c, and not a byte more, within timeout. If the stream begins
// with something else, isPlain is true, and plain has what was read. A stream is plain, too, if
// it ends first, or if nothing arrives within plainAfter (0: no such limit).
func readHeader(c *liveness.Conn, timeout, plainAfter time.Duration) (body, plain []byte, isPlain bool, err error) {
	until := time.Now().Add(timeout)
	first := until
	if plainAfter > 0 && plainAfter < timeout {
		first = time.Now().Add(plainAfter)
	}
	c.SetReadDeadline(first)
	defer c.SetReadDeadline(time.Time{})
	most := MaxName
	b := make([]byte, 0, 64)
	for {
		body, need, isPlain, err := parse(b, most)
		switch {
		case err != nil:
			return nil, nil, false, err
		case isPlain:
			return nil, b, true, nil
		case need == 0:
			return body, nil, false, nil
		}
		if len(b)+need > cap(b) {
			b = append(make([]byte, 0, len(b)+need), b...)
		}
		n, err := c.Read(b[len(b) : len(b)+need])
		if n > 0 && len(b) == 0 {
			c.SetReadDeadline(until)
			if c.PeerHello() != nil {
				most = maxRegister
			}
		}
		b = b[:len(b)+n]
		switch {
		case err == nil, n > 0:
		case errors.Is(err, os.ErrDeadlineExceeded) && len(b) == 0 && first != until:
			if c.PeerHello() == nil {
				return nil, nil, true, nil
			}
			first = until // the client uses frames, and waits for our Hello
			c.SetReadDeadline(until)
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, nil, false, errSilent
		default:
			return nil, b, true, nil // the end of the data, or of c: the next Read returns it
		}
	}
}
