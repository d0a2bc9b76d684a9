// Line is a server with a protocol of its own, of lines, on [liveness.Server].
//
//	go run ./examples/line -timeout 30s    # serves until ^C
//	nc 127.0.0.1 7070                      # who; kick 1; counts; quit; else an echo
//
// A client may send the line PING, which is answered with PONG and is a sign of life: what
// the codec knows, the handler needn't. Here the peer itself must be heard, once in the
// timeout: bytes are the evidence. Set Config.Evidence to Acks, and it may be silent as
// long as its system answers; or to Beats, and only PING counts.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport/tcp"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:7070", "`address` to serve on")
	timeout := flag.Duration("timeout", 30*time.Second, "how long a client may be silent")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	l, err := tcp.Transport{}.Listen(ctx, *listen)
	if err != nil {
		log.Fatal(err)
	}
	if err := newServer(*timeout).Serve(ctx, l); err != nil { // drains when ctx ends
		log.Fatal(err)
	}
}

func newServer(timeout time.Duration) *liveness.Server {
	srv := &liveness.Server{
		Config: liveness.Config{
			Policy: liveness.Sliding(timeout),
			Events: func(e liveness.Event) { log.Println(e) },
		},
		Codec: codec.Line,
	}
	srv.Handler = func(_ context.Context, c *liveness.Conn) { serve(srv, c) }
	return srv
}

func serve(srv *liveness.Server, c *liveness.Conn) {
	in := bufio.NewScanner(c)
	for in.Scan() {
		command, arg, _ := strings.Cut(in.Text(), " ")
		switch command {
		case "who":
			for s := range srv.Sessions() {
				st := s.Stats()
				fmt.Fprintf(c, "%d %v age %v silence %v\n", s.ID(), s.RemoteAddr(), st.Age, st.Silence)
			}
			fmt.Fprintln(c, ".")
		case "kick":
			var id uint64
			fmt.Sscan(arg, &id)
			if s := srv.Session(id); s != nil {
				s.CloseWith(liveness.Kicked, "by "+c.RemoteAddr().String())
				fmt.Fprintln(c, "kicked", id)
			} else {
				fmt.Fprintln(c, "no session", arg)
			}
		case "counts":
			n := srv.Counts(liveness.KindSession)
			fmt.Fprintln(c, n.Accepted, "accepted,", n.Live, "live, closed:", n.Closed)
		case "quit":
			return
		default:
			fmt.Fprintln(c, in.Text())
		}
	}
}
