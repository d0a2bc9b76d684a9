package main

import (
	"context"

	"github.com/livenet/livenet/internal/bench"
	"github.com/livenet/livenet/internal/load"
	"github.com/livenet/livenet/internal/stack"
)

func benchChurnCommand() *command {
	return benchmark(command{
		name:    "churn",
		summary: "connecting and disconnecting, and what that leaves behind",
		about: `A client process connects to a server process, has one message echoed and
disconnects, over and over and several at a time. What it finds: how many it does in
a second, how long each part takes, and what the server has more than before when
all of it is over: descriptors, goroutines and heap.`,
		options: []option{
			{name: "transport", group: "Benchmark", value: "NAME", def: "tcp", help: "quic, tcp or yamux"},
			{name: "codec", group: "Benchmark", value: "NAME", def: "frame", help: "frame or raw"},
			{name: "io", group: "Benchmark", value: "NAME", def: "auto", help: ioHelp},
			{name: "for", group: "Benchmark", value: "DURATION", def: "5s", help: "how long"},
			{name: "parallel", group: "Benchmark", value: "N", def: "16", help: "connections at a time"},
		},
		examples: `  livenet bench churn
  livenet bench churn --transport quic --for 30s --parallel 4`,
	}, readChurn)
}

func readChurn(f *flags) measurement {
	transport := f.oneOf("transport", stack.Names...)
	c := load.Churn{
		Transport: transport,
		Codec:     f.oneOf("codec", "frame", "raw"),
		IO:        f.serverIO(transport),
		For:       f.durationUpTo("for", longestRun),
		Parallel:  f.number("parallel", 1, mostSessions),
	}
	return func(ctx context.Context, p bench.Progress) (report *bench.Report, err error) {
		if c.Command, err = workerCommand(); err != nil {
			return nil, err
		}
		return c.Run(ctx, p)
	}
}
