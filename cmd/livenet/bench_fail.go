package main

import (
	"slices"

	"github.com/livenet/livenet/internal/load"
	"github.com/livenet/livenet/internal/stack"
)

func benchFailCommand() *command {
	return benchmark(command{
		name:    "fail",
		summary: "very many sessions that lose their peers in one instant",
		about: `A server process holds very many sessions, and all their peers fail at once: they
fall silent, or their process is killed. What it finds: how fast the sessions are
closed, how late, what that takes of the heap, whether each end is told of once,
whether neighbours that beat are lost, and how long it takes to connect meanwhile,
against what is usual.`,
		options: []option{
			transportOption,
			ioOption,
			{name: "sessions", group: "Benchmark", value: "N", def: "10000", help: "that fail"},
			{name: "neighbours", group: "Benchmark", value: "N", def: "1000", help: "sessions beside that go on beating"},
			timeoutOption,
			beatOption,
			{name: "peers", group: "Benchmark", value: "NAME", def: "all", help: "silent, slow (silent, and whoever is told of the ends takes his time), killed, or all"},
			{name: "slow", group: "Benchmark", value: "DURATION", def: "20ms", help: "how much time, for each end"},
		},
		examples: `  livenet bench fail
  livenet bench fail --transport quic --sessions 1500 --neighbours 200`,
	}, readFail)
}

func readFail(f *flags) measurement {
	transport := f.oneOf("transport", stack.Names...)
	fail := load.Fail{
		Transport:  transport,
		IO:         f.serverIO(transport),
		Sessions:   f.number("sessions", 1, mostSessions),
		Neighbours: f.number("neighbours", 0, mostSessions),
		Timeout:    f.durationUpTo("timeout", longestBeat),
		Beat:       f.duration("beat"),
		Slow:       f.durationUpTo("slow", longestBeat),
		Ways:       load.FailWays,
	}
	if way := f.oneOf("peers", append([]string{"all"}, load.FailWays...)...); way != "all" {
		fail.Ways = []string{way}
	}
	if fail.Beat == 0 {
		fail.Beat = fail.Timeout / 4
	}
	f.checkBeat(fail.Transport, "frame", fail.Beat, fail.Timeout)
	if _, given := f.given("slow"); given && !slices.Contains(fail.Ways, load.FailSlow) && f.err == nil {
		f.fail("%s has no effect with %s: it is for --peers %s", f.with("slow"), f.with("peers"), load.FailSlow)
	}
	return byWorkers(fail.Run, &fail.Command)
}
