package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

// run serves one session and dials it.
func run(ctx context.Context, server, client transport.Transport, measure, deadline time.Duration) (*result, error) {
	l, err := server.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	due := make(chan time.Time, 1) // when the deadline was, by the server's clock
	srv := &liveness.Server{
		Config: liveness.Config{
			Policy: liveness.Fixed(deadline),
			Events: func(ev liveness.Event) {
				if ev.What == liveness.Closed && ev.Kind == liveness.KindSession {
					due <- ev.Time.Add(-ev.Late)
				}
			},
		},
		Codec:   codec.Frame,
		Handler: func(_ context.Context, c *liveness.Conn) { io.Copy(c, c) },
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx, l) }()

	r, noticed, err := talk(ctx, client, l.Addr().String(), measure)
	if err == nil {
		r.noticed = noticed.Sub(<-due)
	}
	srv.Close()
	return r, errors.Join(err, <-served)
}

// talk exchanges messages for a while, and then waits for the server to end the session.
func talk(ctx context.Context, t transport.Transport, addr string, d time.Duration) (r *result, noticed time.Time, err error) {
	r = new(result)
	began := time.Now()
	var dialer liveness.Client
	conn, err := dialer.Dial(ctx, t, addr)
	if err != nil {
		return nil, noticed, err
	}
	defer conn.Close()
	message := make([]byte, 32)
	if err := echo(conn, message); err != nil {
		return nil, noticed, err
	}
	r.first = time.Since(began)

	began = time.Now()
	for last := began; last.Sub(began) < d; {
		if echo(conn, message) != nil {
			break // the end has come early; the next Read says so again
		}
		now := time.Now()
		r.trips = append(r.trips, now.Sub(last))
		last = now
	}
	r.rate = float64(len(r.trips)) / time.Since(began).Seconds()
	slices.Sort(r.trips)

	_, err = conn.Read(message)
	noticed = time.Now()
	end, ok := errors.AsType[*liveness.Error](err)
	if !ok {
		return nil, noticed, fmt.Errorf("the session ended without a reason: %w", err)
	}
	r.reason = end.Reason
	return r, noticed, nil
}

// echo sends a message and waits for its echo.
func echo(conn net.Conn, message []byte) error {
	if _, err := conn.Write(message); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, message)
	return err
}
