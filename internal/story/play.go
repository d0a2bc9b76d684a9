package story

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/internal/devtls"
	"github.com/livenet/livenet/internal/stack"
	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

// A Moment is a beat that was sent, or the end of a part.
type Moment struct {
	Part int // index in the list
	At   time.Duration
	Beat int      // the number of the beat, from 1; 0 at the end
	End  *Outcome // nil for a beat
}

// Play runs all parts at once and returns their outcomes, in order. It calls report for every
// moment, from many goroutines at once. It returns an error if a part could not be started,
// or if ctx ended.
func Play(ctx context.Context, parts []Part, speed float64, report func(Moment)) (_ []Outcome, err error) {
	stages := make([]*stage, len(parts))
	defer func() {
		for _, s := range stages {
			if s != nil {
				err = errors.Join(err, s.close())
			}
		}
	}()
	for i, p := range parts {
		if stages[i], err = open(ctx, p, speed); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Transport, err)
		}
	}
	outcomes := make([]Outcome, len(parts))
	errs := make([]error, len(parts))
	var playing sync.WaitGroup
	for i, s := range stages {
		playing.Go(func() {
			outcomes[i], errs[i] = s.play(ctx, func(m Moment) {
				m.Part = i
				report(m)
			})
		})
	}
	playing.Wait()
	return outcomes, errors.Join(errs...)
}

// A stage is the server and the client of one part.
type stage struct {
	part   Part
	speed  float64
	addr   string
	client transport.Transport
	server *liveness.Server
	served chan error
	closed chan liveness.Event // the server's closed event

	// Used by the client.
	conn  *liveness.Conn
	began time.Time
	sent  int   // beats
	bytes int64 // bytes of these beats

	heard atomic.Int64 // bytes received by the server
}

// open starts a part's server.
func open(ctx context.Context, part Part, speed float64) (*stage, error) {
	s := &stage{part: part, speed: speed, served: make(chan error, 1), closed: make(chan liveness.Event, 1)}
	server, client, err := transports(part, speed)
	if err != nil {
		return nil, err
	}
	l, err := server.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.addr, s.client = l.Addr().String(), client
	s.server = &liveness.Server{
		Config: liveness.Config{Policy: part.policy(speed), Transport: part.Transport, Events: s.take},
		Codec:  codec.Frame,
		Data: func(_ *liveness.Conn, p []byte) error {
			s.heard.Add(int64(len(p)))
			return nil
		},
	}
	go func() { s.served <- s.server.Serve(context.WithoutCancel(ctx), l) }()
	return s, nil
}

// transports returns the two ends of a part's transport. If it requires TLS, they use a
// temporary certificate.
func transports(part Part, speed float64) (server, client transport.Transport, err error) {
	limits := stack.Limits{IdleTimeout: stack.IdleTimeout(scale(part.Timeout, 1/speed)), Handshake: handshake}
	if !stack.AlwaysTLS(part.Transport) {
		t, err := stack.New(part.Transport, nil, limits)
		return t, t, err
	}
	identity, roots, err := devtls.Ephemeral()
	if err != nil {
		return nil, nil, err
	}
	server, err1 := stack.New(part.Transport, &tls.Config{Certificates: []tls.Certificate{identity.Certificate}}, limits)
	client, err2 := stack.New(part.Transport, &tls.Config{RootCAs: roots}, limits)
	return server, client, errors.Join(err1, err2)
}

const handshake = 10 * time.Second

// close ends the server, and waits for it.
func (s *stage) close() error {
	s.server.Close()
	return <-s.served
}

// take is the server's Events. It keeps the session's closed event.
func (s *stage) take(e liveness.Event) {
	if e.What == liveness.Closed && e.Kind == liveness.KindSession {
		select {
		case s.closed <- e:
		default: // there is only one session
		}
	}
}

// play runs the client: it dials, and sends the script's beats until the connection ends.
func (s *stage) play(ctx context.Context, report func(Moment)) (o Outcome, err error) {
	d := liveness.Client{NoBeat: true, Transport: s.part.Transport} // only the script's beats count
	if s.conn, err = d.Dial(ctx, s.client, s.addr); err != nil {
		return o, err
	}
	s.began = time.Now()
	over := make(chan struct{})
	go func() { // ends with the connection
		defer close(over)
		io.Copy(io.Discard, s.conn)
	}()
	s.beat(ctx, over, report)
	at := s.now()
	s.conn.Close()
	<-over
	if ctx.Err() != nil {
		return o, ctx.Err()
	}
	o = s.outcome()
	report(Moment{At: at, End: &o})
	return o, nil
}

// beat sends the script's beats until the connection is over.
func (s *stage) beat(ctx context.Context, over <-chan struct{}, report func(Moment)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := range 2 * Beats {
		timer.Reset(time.Until(s.began.Add(scale(moment(i), 1/s.speed))))
		select {
		case <-timer.C:
		case <-over:
			return
		case <-ctx.Done():
			return
		}
		if n, err := fmt.Fprintf(s.conn, "%d Hello I'm MyHeartbeat Client.", i); err == nil {
			s.sent++
			s.bytes += int64(n)
			report(Moment{At: s.now(), Beat: i + 1})
		}
	}
}

// now returns the scaled time since the beginning.
func (s *stage) now() time.Duration { return scale(time.Since(s.began), s.speed) }
