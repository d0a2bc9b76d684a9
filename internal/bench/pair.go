package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/internal/devtls"
	"github.com/livenet/livenet/internal/stack"
	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

// bare is what stands for no codec: the transport as it is.
const bare = "bare"

// An echo is a server that sends back what comes, and a client of it.
type echo struct {
	under string // bare, or one of EchoCodecs
	conn  net.Conn
	in    *bufio.Reader // as protocols read: a frame's header and its data at once
	msg   []byte
	buf   []byte
	close func() error // both ends; all has ended when it returns

	speeds  []float64 // messages a second, in each round
	cpu     []float64 // nanoseconds of processor time for a message, in each round
	latency *Latency
}

const (
	patience  = time.Minute      // of the policy: nobody here is silent for long
	handshake = 10 * time.Second // how long connecting may take
)

// newEcho starts a server on the loopback interface and connects to it.
func newEcho(ctx context.Context, transportName, under string, size int) (e *echo, err error) {
	server, client, err := echoTransports(transportName)
	if err != nil {
		return nil, err
	}
	l, err := server.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	e = &echo{under: under, msg: make([]byte, size), buf: make([]byte, size), latency: NewLatency()}
	within, cancel := context.WithTimeout(ctx, handshake)
	defer cancel()
	if under == bare {
		err = e.bare(within, l, client)
	} else {
		err = e.judged(within, l, client)
	}
	if err != nil {
		return nil, errors.Join(err, e.close())
	}
	const header = 64 // is more than any
	e.in = bufio.NewReaderSize(e.conn, max(4096, size+header))
	return e, nil
}

// echoTransports are both ends of a transport. What needs TLS gets a
// certificate that exists for the benchmark only.
func echoTransports(name string) (server, client transport.Transport, err error) {
	limits := stack.Limits{Silence: stack.Backstop(patience), Handshake: handshake}
	secure := name == "tls" || stack.AlwaysTLS(name)
	if name == "tls" {
		name = "tcp"
	}
	if !secure {
		t, err := stack.New(name, nil, limits)
		return t, t, err
	}
	identity, roots, err := devtls.Ephemeral()
	if err != nil {
		return nil, nil, err
	}
	server, err1 := stack.New(name, &tls.Config{Certificates: []tls.Certificate{identity.Certificate}}, limits)
	client, err2 := stack.New(name, &tls.Config{RootCAs: roots}, limits)
	return server, client, errors.Join(err1, err2)
}

// bare connects the two ends without liveness.
func (e *echo) bare(ctx context.Context, l transport.Listener, client transport.Transport) error {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	var server sync.WaitGroup
	server.Go(func() {
		sess, err := l.Accept(serving)
		if err != nil {
			return
		}
		defer sess.Close(0, "")
		// That the client closes ends the copying, unless it gets lost.
		defer context.AfterFunc(serving, func() { sess.Close(0, "") })()
		if st, err := sess.AcceptStream(serving); err == nil {
			sendBack(st)
			st.Close()
		}
	})
	end := func() error { return nil }
	e.close = func() error {
		err := end()
		stop()
		err = errors.Join(err, l.Close())
		server.Wait()
		return err
	}
	sess, err := client.Dial(ctx, l.Addr().String())
	if err != nil {
		return err
	}
	end = func() error { return sess.Close(0, "") }
	st, err := sess.OpenStream(ctx)
	e.conn = st
	return err
}

// judged connects them with it, as livenet serve and livenet dial do.
func (e *echo) judged(ctx context.Context, l transport.Listener, client transport.Transport) error {
	atServer, atClient := codec.Auto, codec.Frame
	if e.under == "raw" {
		atServer, atClient = codec.Raw, codec.Raw
	}
	server := &liveness.Server{
		Config:  liveness.Config{Policy: liveness.Sliding(patience), Engine: new(liveness.Engine)},
		Codec:   atServer,
		Handler: func(_ context.Context, c *liveness.Conn) { sendBack(c) },
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(context.WithoutCancel(ctx), l) }()
	e.close = func() error {
		if e.conn != nil {
			e.conn.Close()
		}
		server.Close()
		return <-served
	}
	conn, err := (&liveness.Client{Codec: atClient}).Dial(ctx, client, l.Addr().String())
	if err != nil {
		return err
	}
	e.conn = conn
	return nil
}

// sendBack copies what comes, until it ends. It hides what else the connection
// can do: a copy within the kernel would be no echo of the transport's.
func sendBack(rw io.ReadWriter) { io.Copy(struct{ io.Writer }{rw}, struct{ io.Reader }{rw}) }

// words are what people call it.
func (e *echo) words() string {
	if e.under == bare {
		return bare
	}
	return "liveness, " + e.under
}

// round sends messages for so long, each after the answer to the one before. A
// round that ctx ended is not counted.
func (e *echo) round(ctx context.Context, d time.Duration, c *course) error {
	if len(e.speeds) == 0 { // the first messages find everything cold
		if _, err := e.send(ctx, d/4, c, func(time.Duration) {}); err != nil {
			return err
		}
		c.advance(-d / 4)
	}
	cpu, began := CPUTime(), time.Now()
	n, err := e.send(ctx, d, c, e.latency.Record)
	if err != nil || ctx.Err() != nil {
		return err
	}
	e.speeds = append(e.speeds, float64(n)/time.Since(began).Seconds())
	e.cpu = append(e.cpu, float64(CPUTime()-cpu)/float64(n))
	return nil
}

// send sends messages for d, or until ctx ends, and at least one.
func (e *echo) send(ctx context.Context, d time.Duration, c *course, took func(time.Duration)) (n int, err error) {
	const report = 20 * time.Millisecond
	began := time.Now()
	last, told := began, began
	for last.Sub(began) < d || n == 0 {
		if _, err := e.conn.Write(e.msg); err != nil {
			return n, err
		}
		if _, err := io.ReadFull(e.in, e.buf); err != nil {
			return n, err
		}
		now := time.Now()
		took(now.Sub(last))
		last = now
		n++
		if now.Sub(told) > report {
			c.advance(now.Sub(told))
			told = now
			if ctx.Err() != nil {
				return n, nil
			}
		}
	}
	c.advance(last.Sub(told))
	return n, nil
}

// CPUTime is the processor time that this process has used, the kernel's work
// for it included; 0 where the system does not tell.
func CPUTime() time.Duration {
	own, kernel := CPUTimes()
	return own + kernel
}
