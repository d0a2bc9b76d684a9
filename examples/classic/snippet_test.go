package main

import (
	"bytes"
	"net"
	"time"
)

// snippet is the original server, rewritten with the same steps. It differs in two things that
// don't matter to the tests: it copies messages for the goroutines that get them, because of
// the data race, and it keeps the channels, so that a test can unblock the leaked goroutines.
type snippet struct {
	short    time.Duration // the deadline at accept
	long     time.Duration // the deadline after a message
	patience time.Duration // for a heartbeat, in a goroutine that has one at hand

	offered []chan byte
}

func newSnippet(s story) *snippet {
	return &snippet{short: s.real(10 * time.Second), long: s.real(4 * time.Second), patience: s.real(5 * time.Second)}
}

func (s *snippet) handle(conn net.Conn) {
	conn.SetReadDeadline(time.Now().Add(s.short))
	buf := make([]byte, 1024)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		beat := make(chan byte)
		s.offered = append(s.offered, beat)
		go s.extend(conn, beat)
		go offer(bytes.Clone(buf[:n]), beat)
	}
	// Here stands "defer conn.Close()", which vet calls unreachable.
}

func (s *snippet) extend(conn net.Conn, beat <-chan byte) {
	select {
	case <-beat:
		conn.SetDeadline(time.Now().Add(s.long))
	case <-time.After(s.patience):
		conn.Close()
	}
}

func offer(message []byte, beat chan<- byte) {
	for _, b := range message {
		beat <- b
	}
	close(beat)
}

// free unblocks the leaked goroutines.
func (s *snippet) free() {
	for _, beat := range s.offered {
		for range beat {
		}
	}
}
