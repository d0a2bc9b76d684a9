package main

import (
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
			transportOption,
			{name: "codec", group: "Benchmark", value: "NAME", def: "frame", help: "frame or raw"},
			ioOption,
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
	return byWorkers(c.Run, &c.Command)
}
