package main

import (
	"context"
	"time"

	"github.com/livenet/livenet/internal/bench"
)

func benchEchoCommand() *command {
	return benchmark(command{
		name:    "echo",
		summary: "throughput and latency, against the bare transport",
		about: `A client and a server in this process echo messages, one at a time, over the
loopback interface: on the bare transport and under liveness in turns, so that
what else this machine does falls on all alike.`,
		options: []option{
			{name: "transport", group: "Benchmark", value: "NAME", def: "all", help: "quic, tcp, tls, yamux or all"},
			{name: "codec", group: "Benchmark", value: "NAME", def: "all", help: "frame, raw or all"},
			{name: "size", group: "Benchmark", value: "BYTES", def: "1024", help: "of a message"},
			{name: "for", group: "Benchmark", value: "DURATION", def: "2s", help: "how long each row is measured"},
		},
		examples: `  livenet bench echo
  livenet bench echo --transport quic --codec frame --size 64 --for 5s
  livenet bench echo --json | jq '.rows[] | {transport, under, p99_us}'`,
	}, func(f *flags) measurement {
		e := bench.Echo{
			Transports: f.someOf("transport", bench.EchoTransports),
			Codecs:     f.someOf("codec", bench.EchoCodecs),
			Size:       f.number("size", 1, bench.MostEchoSize),
			For:        f.durationUpTo("for", time.Minute),
		}
		return func(ctx context.Context, p bench.Progress) (*bench.Report, error) { return e.Run(ctx, p) }
	})
}

// someOf is the one of names that a flag's value is, or all of them.
func (f *flags) someOf(name string, names []string) []string {
	const all = "all"
	if one := f.oneOf(name, append([]string{all}, names...)...); one != all {
		return []string{one}
	}
	return names
}
