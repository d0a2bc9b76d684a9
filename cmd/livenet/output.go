package main

import (
	"io"
	"sync"
)

// An output is stdout and remembers its first error, because many writers ignore errors.
type output struct {
	w       io.Writer
	process *process

	mu  sync.Mutex
	err error // the first one
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.err == nil {
			o.err = err
		}
	}
	return n, err
}

func (o *output) failed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}
