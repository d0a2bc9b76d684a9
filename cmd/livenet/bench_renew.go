package main

import (
	"context"
	"time"

	"github.com/livenet/livenet/internal/bench"
	"github.com/livenet/livenet/internal/load"
)

func benchRenewCommand() *command {
	return benchmark(command{
		name:    "renew",
		summary: "a sign of life: a lease against deadlines and timers",
		about: `What it costs to take note that a peer has been heard: renewing a lease, against
SetReadDeadline, Timer.Reset and AfterFunc, for one connection and in random
order for many. And what an engine takes of a core under a steady load, against
a timer for each connection.`,
		options: []option{
			{name: "leases", group: "Benchmark", value: "N", def: "1000000", help: "how many, where many are measured"},
			{name: "for", group: "Benchmark", value: "DURATION", def: "1s", help: "how long each row is measured, and a fifth of how long each load is"},
		},
		examples: `  livenet bench renew
  livenet bench renew --leases 100000 --for 500ms --json`,
	}, func(f *flags) measurement {
		r := bench.Renew{
			Leases: f.number("leases", 1, bench.MostLeases),
			For:    f.durationUpTo("for", time.Minute),
		}
		return func(ctx context.Context, p bench.Progress) (*bench.Report, error) {
			if err := load.ReadLimits().CheckMemory("leases", r.Leases, bench.LeaseMemory); err != nil {
				return nil, err
			}
			return r.Run(ctx, p)
		}
	})
}
