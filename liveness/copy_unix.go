//go:build unix

package liveness

import (
	"io"
	"net"
	"os"
	"syscall"
)

// A lazyReader reads from a plain TCP connection into a buffer that it takes only when
// something has come, with no call of the kernel more than Read makes.
type lazyReader struct {
	raw syscall.RawConn
	try func(fd uintptr) bool

	buf *[]byte // nil: none is taken
	n   int
	err error
}

// newLazyReader returns nil where it can't be had.
func newLazyReader(conn *net.TCPConn) *lazyReader {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil
	}
	r := &lazyReader{raw: raw}
	r.try = r.tryRead
	return r
}

func (r *lazyReader) tryRead(fd uintptr) bool {
	b := dataBuffers.Get().(*[]byte)
	r.n, r.err = syscall.Read(int(fd), *b)
	for r.err == syscall.EINTR {
		r.n, r.err = syscall.Read(int(fd), *b)
	}
	if r.err == syscall.EAGAIN {
		dataBuffers.Put(b)
		return false
	}
	r.buf = b
	return true
}

// read is Read. The buffer, if there is one, goes back to dataBuffers.
func (r *lazyReader) read() (buf *[]byte, n int, err error) {
	r.buf = nil
	switch err = r.raw.Read(r.try); {
	case err != nil:
		return nil, 0, err
	case r.err != nil:
		return r.buf, 0, os.NewSyscallError("read", r.err)
	case r.n == 0:
		return r.buf, 0, io.EOF
	}
	return r.buf, r.n, nil
}
