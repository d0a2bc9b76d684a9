// Compare runs the same echo over four transports and prints what differs.
//
//	go run ./examples/compare
//
// The same server and client run over each transport. The server's policy is fixed, so that it
// ends each session, and the client shows the reason. The frame codec, the client's default,
// carries the reason over every transport. Without it quic and yamux still would, and tcp would
// only show an end of file.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"runtime"
	"text/tabwriter"
	"time"

	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/quic"
	"github.com/livenet/livenet/transport/tcp"
	"github.com/livenet/livenet/transport/yamux"
)

func main() {
	log.SetFlags(0)
	if err := compare(context.Background(), os.Stdout, 300*time.Millisecond, 600*time.Millisecond); err != nil {
		log.Fatal("compare: ", err)
	}
}

// compare measures each transport in a session that ends at a deadline.
func compare(ctx context.Context, out io.Writer, measure, deadline time.Duration) error {
	server, client, err := certificate()
	if err != nil {
		return err
	}
	transports := []struct {
		name           string
		server, client transport.Transport
	}{
		{"tcp", tcp.Transport{}, tcp.Transport{}},
		{"tcp+tls", tcp.Transport{TLS: server}, tcp.Transport{TLS: client}},
		{"quic", quic.Transport{TLS: server}, quic.Transport{TLS: client}},
		{"yamux", yamux.Transport{Inner: tcp.Transport{}}, yamux.Transport{Inner: tcp.Transport{}}},
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "transport\tfirst echo\techoes/s\tp50\tp99\treason seen\tafter the deadline\t")
	for _, t := range transports {
		// The first session of a process is slower, so it does not count.
		run(ctx, t.server, t.client, 0, deadline/10)
		r, err := run(ctx, t.server, t.client, measure, deadline)
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		fmt.Fprintf(table, "%s\t%v\t%.0f\t%v\t%v\t%v\t%v\t\n", t.name, r.first.Round(10*time.Microsecond),
			r.rate, r.quantile(50), r.quantile(99), r.reason, r.noticed.Round(10*time.Microsecond))
	}
	table.Flush()
	_, err = fmt.Fprintf(out, `
An echo is 32 bytes there and back, one at a time, on one stream. The first one
includes dialling. The server ends each session %v after accepting it.
These are the figures of this run, over loopback, on this machine (%s/%s, %d CPUs):
a network has other delays, and loses packets.
`, deadline, runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	return err
}

// A result is the measurement of one transport.
type result struct {
	first   time.Duration   // dial and the first echo
	trips   []time.Duration // the other echoes, sorted
	rate    float64         // of those, per second
	reason  liveness.Reason // why the session ended, as the client saw it
	noticed time.Duration   // how long after the deadline it did
}

func (r *result) quantile(percent int) time.Duration {
	if len(r.trips) == 0 {
		return 0
	}
	return r.trips[(len(r.trips)-1)*percent/100].Round(100 * time.Nanosecond)
}
