package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/tcp"
	"github.com/livenet/livenet/transport/yamux"
)

// An echoSettings is for messages that are echoed one at a time, on the bare
// transport and under liveness. They take turns, so that whatever else the
// machine does falls on all alike.
type echoSettings struct {
	Transports []string      `json:"transports"`
	Size       int           `json:"message_bytes"`
	For        time.Duration `json:"for_ns"` // each row
}

type echoRow struct {
	Transport  string        `json:"transport"`
	Under      string        `json:"under"`
	PerSecond  rate          `json:"messages_per_second"`
	Ratio      ratio         `json:"ratio,omitzero"` // of messages a second, against the bare transport
	WorstRatio ratio         `json:"worst_ratio,omitzero"`
	CPU        time.Duration `json:"cpu_each_ns"` // of both ends, with the kernel's
	P50        time.Duration `json:"p50_ns"`
	P99        time.Duration `json:"p99_ns"`
	Max        time.Duration `json:"max_ns"`
}

const (
	bare = "bare"

	// mostEchoSize is within all windows: the client reads when it has written.
	mostEchoSize = 64 << 10

	echoRounds  = 10
	echoTimeout = time.Minute // of the policy: nobody here is silent for long
)

var echoUnder = []string{bare, "raw", "frame"}

func (l *lab) echo(ctx context.Context, s echoSettings) (*report, error) {
	var rows []echoRow
	var err error
	for i, name := range s.Transports {
		var more []echoRow
		more, err = l.echoOver(ctx, s, name, float64(i)/float64(len(s.Transports)))
		if rows = append(rows, more...); err != nil {
			err = fmt.Errorf("%s: %w", name, err)
			break
		}
	}
	note := fmt.Sprintf("Medians of %d rounds. Ratio is of messages a second, against the bare transport in the same round.", echoRounds)
	return newReport("echo", s, table{"An echo", note, rows}), err
}

// echoOver measures one transport.
func (l *lab) echoOver(ctx context.Context, s echoSettings, name string, share float64) (rows []echoRow, err error) {
	var list []*echo
	defer func() {
		for _, e := range list {
			err = errors.Join(err, e.close())
		}
	}()
	for _, under := range echoUnder {
		e, err := newEcho(ctx, name, under, s.Size)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	// Nothing else ends a Read.
	defer context.AfterFunc(ctx, func() {
		for _, e := range list {
			e.conn.Close()
		}
	})()
	for round := range echoRounds + 1 { // the first finds everything cold
		for i := range list {
			e := list[(i+round)%len(list)]
			l.step(share+float64(round)/float64((echoRounds+1)*len(s.Transports)), "%s: %s", name, e.under)
			if err := e.round(s.For/echoRounds, round == 0); err != nil {
				return nil, err
			}
		}
	}
	for _, e := range list {
		q := e.latency.row("")
		row := echoRow{Transport: name, Under: e.under, PerSecond: rate(median(e.speeds)), CPU: median(e.cpu), P50: q.P50, P99: q.P99, Max: q.Max}
		if e.under != bare {
			var ratios []float64
			for i, speed := range e.speeds {
				ratios = append(ratios, speed/list[0].speeds[i])
			}
			row.Ratio, row.WorstRatio = ratio(median(ratios)), ratio(slices.Min(ratios))
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// An echo is a server that sends back what comes, and a client of it.
type echo struct {
	under    string
	conn     net.Conn
	in       *bufio.Reader // as protocols read: a frame's header and its data at once
	msg, buf []byte
	close    func() error // both ends; all has ended when it returns

	speeds  []float64 // messages a second, in each round
	cpu     []time.Duration
	latency *latency
}

func newEcho(ctx context.Context, name, under string, size int) (*echo, error) {
	server, err := listening(name, false, echoTimeout)
	if err != nil {
		return nil, err
	}
	client, err := dialling(name, echoTimeout)
	if err != nil {
		return nil, err
	}
	switch name { // the product's own client end
	case "tcp":
		client = tcp.Transport{}
	case "yamux":
		client = yamux.Transport{Inner: tcp.Transport{}}
	}
	l, err := server.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	e := &echo{under: under, msg: make([]byte, size), buf: make([]byte, size), latency: newLatency()}
	within, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	if under == bare {
		err = e.bare(within, l, client)
	} else {
		err = e.judged(within, l, client)
	}
	if err != nil {
		return nil, errors.Join(err, e.close())
	}
	e.in = bufio.NewReaderSize(e.conn, max(4096, size+64))
	return e, nil
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
		defer context.AfterFunc(serving, func() { sess.Close(0, "") })()
		if st, err := sess.AcceptStream(serving); err == nil {
			sendBack(st)
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
	e.conn, err = sess.OpenStream(ctx)
	return err
}

// judged connects them with it, as livenet serve and livenet dial do.
func (e *echo) judged(ctx context.Context, l transport.Listener, client transport.Transport) error {
	atServer, atClient := codec.Auto, codec.Frame
	if e.under == "raw" {
		atServer, atClient = codec.Raw, codec.Raw
	}
	server := &liveness.Server{
		Config:  liveness.Config{Policy: liveness.Sliding(echoTimeout), Engine: new(liveness.Engine)},
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
		<-served
		return nil
	}
	conn, err := (&liveness.Client{Codec: atClient}).Dial(ctx, client, l.Addr().String())
	if err != nil {
		return err
	}
	e.conn = conn
	return nil
}

// sendBack copies what comes. It hides what else the connection can do: a copy
// within the kernel would be no echo of the transport's.
func sendBack(rw io.ReadWriter) { io.Copy(struct{ io.Writer }{rw}, struct{ io.Reader }{rw}) }

// round sends messages for d, each after the answer to the one before. Nothing is
// noted of a cold round.
func (e *echo) round(d time.Duration, cold bool) error {
	cpu, began := processCPU(), time.Now()
	n := 0
	for last := began; last.Sub(began) < d || n == 0; n++ {
		if _, err := e.conn.Write(e.msg); err != nil {
			return err
		}
		if _, err := io.ReadFull(e.in, e.buf); err != nil {
			return err
		}
		now := time.Now()
		if !cold {
			e.latency.record(now.Sub(last))
		}
		last = now
	}
	if !cold {
		e.speeds = append(e.speeds, float64(n)/time.Since(began).Seconds())
		e.cpu = append(e.cpu, (processCPU()-cpu)/time.Duration(n))
	}
	return nil
}
