//go:build unix

package liveness_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/quic"
	"github.com/livenet/livenet/transport/tcp"
	"github.com/livenet/livenet/transport/transporttest"
	"github.com/livenet/livenet/transport/yamux"
)

// BenchmarkEcho compares an echo through liveness with the same echo on the
// bare transport: 1 KiB messages, one at a time. Both run in turns, and the
// figures are medians over the turns: the throughput's ratio, the processor
// time of a message, both ends and the kernel included, and its ratio.
//
//	go test -run - -bench Echo -benchtime 1x ./liveness
func BenchmarkEcho(b *testing.B) {
	serverTLS, clientTLS := transporttest.Certificates(b)
	for _, tr := range []struct {
		name           string
		server, client transport.Transport
	}{
		{"tcp", tcp.Transport{}, tcp.Transport{}},
		{"tls", tcp.Transport{TLS: serverTLS}, tcp.Transport{TLS: clientTLS}},
		{"yamux", yamux.Transport{Inner: tcp.Transport{}}, yamux.Transport{Inner: tcp.Transport{}}},
		{"quic", quic.Transport{TLS: serverTLS}, quic.Transport{TLS: clientTLS}},
	} {
		for _, c := range []codec.Codec{codec.Raw, codec.Auto} {
			b.Run(tr.name+"/"+c.Name(), func(b *testing.B) {
				for b.Loop() {
					benchEcho(b, tr.server, tr.client, c)
				}
			})
		}
	}
}

func benchEcho(b *testing.B, server, client transport.Transport, c codec.Codec) {
	bare := newEcho(b, server, client, func(sess transport.Session) {
		st, err := sess.AcceptStream(context.Background())
		if err == nil {
			io.Copy(struct{ io.Writer }{st}, struct{ io.Reader }{st})
			st.Close()
		}
		<-sess.Context().Done()
	}, func(ctx context.Context, addr string) (net.Conn, io.Closer) {
		sess, err := client.Dial(ctx, addr)
		if err != nil {
			b.Fatal(err)
		}
		st, err := sess.OpenStream(ctx)
		if err != nil {
			b.Fatal(err)
		}
		return st, closer(func() error { return sess.Close(0, "") })
	})
	judged := newJudgedEcho(b, server, client, c)

	const turns, warm = 15, 300
	messages := 3000
	bare.run(b, warm)
	judged.run(b, warm)
	var speed, cpu, perBare, perJudged []float64
	for range turns {
		w0, c0 := bare.run(b, messages)
		w1, c1 := judged.run(b, messages)
		speed = append(speed, w0.Seconds()/w1.Seconds())
		cpu = append(cpu, c1.Seconds()/c0.Seconds())
		perBare = append(perBare, float64(c0.Nanoseconds())/float64(messages))
		perJudged = append(perJudged, float64(c1.Nanoseconds())/float64(messages))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(speed), "throughput-ratio")
	b.ReportMetric(median(cpu), "cpu-ratio")
	b.ReportMetric(median(perBare), "cpu-ns/msg-bare")
	b.ReportMetric(median(perJudged), "cpu-ns/msg")
}

// An echoPair reads through a buffer, as protocols do: it takes a frame's
// header and its data with one read.
type echoPair struct {
	conn net.Conn
	in   *bufio.Reader
}

// newEcho is a server, run by serve for each session, and a client of it.
func newEcho(b *testing.B, server, client transport.Transport, serve func(transport.Session), dial func(context.Context, string) (net.Conn, io.Closer)) *echoPair {
	ctx, cancel := context.WithCancel(context.Background())
	l, err := server.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		sess, err := l.Accept(ctx)
		if err == nil {
			serve(sess)
		}
	})
	conn, end := dial(ctx, l.Addr().String())
	b.Cleanup(func() { end.Close(); cancel(); l.Close(); wg.Wait() })
	return &echoPair{conn, bufio.NewReader(conn)}
}

func newJudgedEcho(b *testing.B, server, client transport.Transport, c codec.Codec) *echoPair {
	ctx, cancel := context.WithCancel(context.Background())
	l, err := server.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &Server{Config: Config{Policy: Sliding(time.Minute)}, Codec: c, Handler: echo}
	var wg sync.WaitGroup
	wg.Go(func() { srv.Serve(ctx, l) })
	dialled := codec.Codec(codec.Frame)
	if c == codec.Raw {
		dialled = codec.Raw
	}
	conn, err := (&Client{Codec: dialled}).Dial(ctx, client, l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close(); cancel(); srv.Close(); wg.Wait() })
	return &echoPair{conn, bufio.NewReader(conn)}
}

// run sends n messages, each after the answer to the one before, and returns
// the time and the processor time that they took.
func (e *echoPair) run(b *testing.B, n int) (wall, cpu time.Duration) {
	msg, buf := make([]byte, 1024), make([]byte, 1024)
	start, before := time.Now(), processorTime()
	for range n {
		if _, err := e.conn.Write(msg); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(e.in, buf); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start), processorTime() - before
}

func processorTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}

type closer func() error

func (c closer) Close() error { return c() }

// BenchmarkIdle reports the processor time that an engine takes for nothing but
// its clock: with no lease at all, and with some that nothing happens to.
func BenchmarkIdle(b *testing.B) {
	for _, n := range []int{0, 1000} {
		b.Run(fmt.Sprintf("leases=%d", n), func(b *testing.B) {
			e := new(Engine)
			e.Grant(Sliding(time.Hour), func(Expiry) {}).Release()
			leases := make([]*Lease, n)
			for i := range leases {
				leases[i] = e.Grant(Sliding(time.Hour), func(Expiry) {})
			}
			// A collection goes on for a while, and the engine waits for a second
			// before it calms down.
			runtime.GC()
			time.Sleep(3 * time.Second / 2)
			const wait = 5 * time.Second
			for b.Loop() {
				before := processorTime()
				time.Sleep(wait)
				b.ReportMetric(100*float64(processorTime()-before)/float64(wait), "%core")
			}
			for _, l := range leases {
				l.Release()
			}
		})
	}
}
