package eventlog

import (
	"errors"
	"io"
	"syscall"
	"time"
)

// A Writer writes lines, one a call, to a file that others may share: one that takes
// nothing for a moment, since somebody has made it non-blocking, is tried again; and
// where a line was cut off by an error, the next begins on a line of its own.
type Writer struct {
	W   io.Writer
	cut bool
}

const retryAfter = 10 * time.Millisecond

func (w *Writer) Write(p []byte) (int, error) {
	if w.cut {
		if _, err := w.write([]byte("\n")); err != nil {
			return 0, err
		}
		w.cut = false
	}
	n, err := w.write(p)
	w.cut = err != nil && n > 0
	return n, err
}

func (w *Writer) write(p []byte) (n int, err error) {
	for {
		k, err := w.W.Write(p[n:])
		n += k
		if !errors.Is(err, syscall.EAGAIN) {
			return n, err
		}
		time.Sleep(retryAfter)
	}
}
