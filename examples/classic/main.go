// Classic is a widely copied heartbeat server and client in Go, corrected.
//
//	go run ./examples/classic                         # both, ten times as fast
//	go run ./examples/classic -listen 127.0.0.1:7373  # only the server, at normal speed
//	go run ./examples/classic -dial 127.0.0.1:7373    # only the client
//
// The client sends ten messages, one every 2 s, is silent for 24 s and tries to
// go on. The server has two policies: a short connection ends 10 s after accept,
// whatever the client sends; a long one ends when the client has sent nothing for
// 4 s.
//
// The original snippet calls SetReadDeadline after accept for the short
// connection. For the long one it starts two goroutines for each message: one
// sends the message's bytes on a channel, the other receives one of them and
// calls SetDeadline. The tests beside this file show what is wrong with it:
//
//   - Each message leaks a goroutine, which blocks for ever sending the second
//     byte.
//   - The timeout closes nothing. The only reachable call of Close is in a select
//     whose other case is always ready, and "defer conn.Close()" stands below the
//     endless loop. So the socket stays open, and the client writes on without an
//     error.
//   - The fixed deadline is moved by the first message.
//   - Unordered goroutines set deadlines while the next Read is under way: the one
//     that runs last wins. They read the buffer that this Read overwrites, which
//     is a data race.
//   - The client treats a successful Write as a message that was received. It only
//     means that the kernel has copied it.
//
// Here the server has one goroutine for each connection. Reading renews the
// connection's lease, which costs a few nanoseconds. The engine closes the
// connection when its deadline has passed, and Read returns the reason. The
// client reads all the time, since only Read notices the end.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"sync"
	"time"
)

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, os.Args[1:]); err != nil {
		log.Fatal("classic: ", err)
	}
}

func run(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("classic", flag.ExitOnError)
	listen := flags.String("listen", "", "only serve, on this `address`")
	dial := flags.String("dial", "", "only play the client, to the server at this `address`")
	kind := flags.String("policy", "long", "with -listen: long or short")
	speed := flags.Float64("speed", 0, "how many times as fast (default 10, but 1 with -listen and -dial)")
	flags.Parse(args)
	if *speed == 0 && *listen+*dial != "" {
		*speed = 1
	} else if *speed == 0 {
		*speed = 10
	}
	switch {
	case *speed < 0:
		return fmt.Errorf("-speed %v: it must be positive", *speed)
	case *kind != "long" && *kind != "short":
		return fmt.Errorf("-policy %q: there are long and short", *kind)
	case *listen != "" && *dial != "":
		return errors.New("-listen and -dial are two programs; without either, both are played")
	}

	s := story{*speed, time.Now(), log.New(out, "", 0)}
	switch {
	case *listen != "":
		l, err := net.Listen("tcp", *listen)
		if err != nil {
			return err
		}
		return s.serve(ctx, l, *kind)
	case *dial != "":
		return s.call(ctx, *dial, "")
	}
	return s.run(ctx)
}

// run runs a server for each policy, and a client for each.
func (s story) run(ctx context.Context) error {
	s.log.Printf("long: closed after 4s of silence. short: closed 10s after accept.")
	s.log.Printf("Times are scaled: it runs %v times as fast.\n\n", s.speed)
	var both sync.WaitGroup
	defer both.Wait()
	for _, kind := range []string{"long", "short"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		ctx, end := context.WithCancel(ctx)
		both.Go(func() {
			if err := s.serve(ctx, l, kind); err != nil {
				s.say(kind, "server", "failed: %v", err)
			}
		})
		both.Go(func() {
			defer end()
			if err := s.call(ctx, l.Addr().String(), kind); err != nil {
				s.say(kind, "client", "failed: %v", err)
			}
		})
	}
	return nil
}

// A story runs the script at some speed. Its clock shows scaled time.
type story struct {
	speed float64
	began time.Time
	log   *log.Logger
}

// real converts a duration of the script to real time.
func (s story) real(d time.Duration) time.Duration {
	return time.Duration(float64(d) / s.speed)
}

// scaled is the inverse of real, in seconds.
func (s story) scaled(d time.Duration) float64 { return d.Seconds() * s.speed }

func (s story) say(kind, who, format string, args ...any) {
	s.log.Printf("%5.1fs  %-5s  %-6s  %s", s.scaled(time.Since(s.began)), kind, who, fmt.Sprintf(format, args...))
}
