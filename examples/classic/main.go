// Classic is the best-known heartbeat server and client in Go, made correct.
//
//	go run ./examples/classic                         # the whole story, ten times as fast
//	go run ./examples/classic -listen 127.0.0.1:7373  # only the server, at the story's own pace
//	go run ./examples/classic -dial 127.0.0.1:7373    # only the client
//
// The client says hello every 2 s, ten times, falls silent for 24 s and wants
// to go on. The server has two policies: a short connection ends 10 s after it
// was accepted, whatever the client says; a long one ends when the client has
// said nothing for 4 s.
//
// The snippet that everybody copies calls SetReadDeadline at accept for the
// short connection, and for the long one starts two goroutines for each
// message: one offers its bytes on a channel, the other takes one of them and
// calls SetDeadline. The tests beside this file run it and show what is wrong:
//
//   - Each message leaves a goroutine behind for ever, offering a second byte
//     that nobody takes.
//   - The timeout closes nothing. The one call of Close that can be reached is
//     in a select that a message has always decided already, and the
//     "defer conn.Close()" stands below the endless loop. So the socket stays
//     open, and the client writes on into it without an error.
//   - The fixed deadline is fixed until the first message, which moves it.
//   - Deadlines are set by goroutines that nobody orders, while the next Read
//     has begun: the one that holds is that of whichever happened to run last.
//     The bytes that they are handed are in the buffer that this Read
//     overwrites, which is a data race.
//   - The client takes a Write that succeeds for a message that was received.
//     It means that the kernel has made a copy.
//
// Here the server has one goroutine for each connection. Reading renews the
// connection's lease, which costs a few nanoseconds; the engine closes the
// connection when its deadline has passed, and Read returns the reason. The
// client reads all the time, since that is how one learns of the end.
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
	return s.tell(ctx)
}

// tell plays the whole story: a server for each policy, and a client for each.
func (s story) tell(ctx context.Context) error {
	s.log.Printf("long: closed after 4s of silence. short: closed 10s after accept.")
	s.log.Printf("The times are the story's; it is told %v times as fast.\n\n", s.speed)
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

// A story is told at some speed. Its clock shows the time as it is in the
// story.
type story struct {
	speed float64
	began time.Time
	log   *log.Logger
}

// real is how long d of the story takes.
func (s story) real(d time.Duration) time.Duration {
	return time.Duration(float64(d) / s.speed)
}

// told is the opposite, in seconds.
func (s story) told(d time.Duration) float64 { return d.Seconds() * s.speed }

func (s story) say(kind, who, format string, args ...any) {
	s.log.Printf("%5.1fs  %-5s  %-6s  %s", s.told(time.Since(s.began)), kind, who, fmt.Sprintf(format, args...))
}
