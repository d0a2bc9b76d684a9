package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// mostDialling is how many sessions are opened at once: fewer than quic-go
	// lets wait for accept (32), and no flood for anybody else.
	mostDialling = 16

	dialTime = 30 * time.Second
)

// message is what a session says: one line.
const message = "beat\n"

// A dialler is a client made of a library's own sessions, which beat by
// themselves.
type dialler struct {
	dial  func(context.Context) (io.ReadWriter, error)
	conns []io.ReadWriter
}

func newDialler(dial func(context.Context) (io.ReadWriter, error)) client {
	return &dialler{dial: dial}
}

func (d *dialler) open(n int) error {
	var (
		mu   sync.Mutex
		errs []error
		wg   sync.WaitGroup
	)
	next := make(chan struct{})
	for range mostDialling {
		wg.Go(func() {
			for range next {
				conn, err := d.one()
				mu.Lock()
				if err != nil {
					errs = append(errs, err)
				} else {
					d.conns = append(d.conns, conn)
				}
				mu.Unlock()
			}
		})
	}
	for range n - len(d.conns) {
		next <- struct{}{}
	}
	close(next)
	wg.Wait()
	if len(errs) > 0 {
		return fmt.Errorf("%d sessions could not be opened, one because: %w", len(errs), errs[0])
	}
	return nil
}

// one opens a session and has it answered.
func (d *dialler) one() (io.ReadWriter, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTime)
	defer cancel()
	conn, err := d.dial(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(conn, message); err != nil {
		return nil, err
	}
	answer := make([]byte, len(message))
	if _, err := io.ReadFull(conn, answer); err != nil {
		return nil, err
	}
	if string(answer) != message {
		return nil, errors.New("the answer is not an echo")
	}
	// As a client would that waits for news: some libraries answer beats within
	// Read only.
	go io.Copy(io.Discard, conn)
	return conn, nil
}

func (d *dialler) beat(time.Duration)   {}
func (d *dialler) rest() (int64, error) { return 0, nil }
