package eventlog

import (
	"errors"
	"io"
	"syscall"
	"time"
)

// A Writer writes one line per call to a file that other processes may share. It retries after
// EAGAIN, since another process may have made the file non-blocking. If an error truncated a
// line, it begins the next one on a new line.
type Writer struct {
	W         io.Writer
	truncated bool
}

const retryAfter = 10 * time.Millisecond

func (w *Writer) Write(p []byte) (int, error) {
	if w.truncated {
		if _, err := w.write([]byte("\n")); err != nil {
			return 0, err
		}
		w.truncated = false
	}
	n, err := w.write(p)
	w.truncated = err != nil && n > 0
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
