package main

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/livenet/livenet/liveness"
)

// policy is the only difference between short and long connections.
func (s story) policy(kind string) liveness.Policy {
	if kind == "short" {
		return liveness.Fixed(s.real(10 * time.Second))
	}
	return liveness.Sliding(s.real(4 * time.Second))
}

// serve serves l until ctx ends, and then waits for its connections.
func (s story) serve(ctx context.Context, l net.Listener, kind string) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	defer l.Close()
	var handlers sync.WaitGroup
	defer handlers.Wait()

	cfg := &liveness.Config{Policy: s.policy(kind)}
	s.say(kind, "server", "listening on %v", l.Addr())
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		handlers.Go(func() { s.handle(ctx, liveness.NewConn(conn, cfg), kind) })
	}
}

// handle reads until the connection ends. It sets no deadline and starts no goroutine: reading
// renews the lease.
func (s story) handle(ctx context.Context, conn *liveness.Conn, kind string) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.CloseWith(liveness.Draining, "") })()

	buf := make([]byte, 1024)
	for {
		n, err := conn.Read(buf)
		if n > 0 {
			// TCP has no message boundaries: after a stall this may be two messages.
			s.say(kind, "server", "heard %q", buf[:n])
		}
		if err == nil {
			continue
		}
		if end, ok := errors.AsType[*liveness.Error](err); ok {
			s.say(kind, "server", "closed it: %v; %.1fs after accept, %.1fs after the last message",
				end.Reason, s.scaled(end.Age), s.scaled(end.Silence))
		} else {
			s.say(kind, "server", "the client has hung up: %v", err)
		}
		return
	}
}
