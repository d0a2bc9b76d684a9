package main

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// call dials addr and runs the client.
func (s story) call(ctx context.Context, addr, kind string) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	if err := s.converse(ctx, conn, kind); err != nil {
		s.say(kind, "client", "the conversation is over: %v", err)
	}
	return nil
}

// converse sends, is silent and sends again. It stops early, with the reason, when the server
// has closed the connection.
func (s story) converse(ctx context.Context, conn net.Conn, kind string) error {
	ctx, ended := context.WithCancelCause(ctx)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer conn.Close() // which also ends the reading
	reading.Go(func() {
		// A Read must always be pending, because Read notices the end of a connection. A
		// Write notices it late, or never.
		for buf := make([]byte, 1024); ; {
			if _, err := conn.Read(buf); err != nil {
				ended(err)
				return
			}
		}
	})

	talk := func(greeting string) error {
		s.say(kind, "client", "says %s, ten times", greeting)
		for i := range 10 {
			if _, err := fmt.Fprintf(conn, "%d %s I'm MyHeartbeat Client.", i, greeting); err != nil {
				return err
			}
			if err := s.wait(ctx, 2*time.Second); err != nil {
				return err
			}
		}
		return nil
	}
	if err := talk("Hello"); err != nil {
		return err
	}
	s.say(kind, "client", "says nothing for 24 s")
	if err := s.wait(ctx, 24*time.Second); err != nil {
		return err
	}
	if err := talk("Hi"); err != nil {
		return err
	}
	s.say(kind, "client", "has sent everything")
	return nil
}

// wait waits for d, scaled, or until ctx ends.
func (s story) wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(s.real(d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
