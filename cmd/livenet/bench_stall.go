package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/livenet/livenet/internal/load"
	"github.com/livenet/livenet/internal/stack"
)

func benchStallCommand() *command {
	return benchmark(command{
		name:    "stall",
		summary: "a stalled server, and the sessions that it must not end",
		about: `A server process is stopped while its clients go on beating, and goes on after
half a timeout, after one, two and ten. It must not have taken that for their
silence. Some clients do fall silent at that moment, and the server must end those
sessions, within a timeout of when it goes on.

With --starve it is not stopped but starved, for four timeouts, and must find out
the silent ones meanwhile. With --side client the clients are stopped, and must not
take that for their server's silence: a laptop that wakes up.`,
		options: []option{
			transportOption,
			beatCodecOption,
			ioOption,
			sessionsOption,
			timeoutOption,
			beatOption,
			{name: "side", group: "Benchmark", value: "NAME", def: load.SideServer, help: "who is stopped, and judges: client or server"},
			{name: "starve", group: "Benchmark", value: "NAME", def: load.StarveStop, help: "cgroup (5 % of a CPU), cpu (busy loops on all cores), gc (all the time), gomaxprocs (one, and a busy loop), stop, or ticks (stopped in each third one)"},
			{name: "stops", group: "Benchmark", value: "LIST", def: "0.5,1,2,10", help: "how long a stop is, in timeouts: in each trial in turn"},
			{name: "trials", group: "Benchmark", value: "N", def: "4", help: "how many"},
			{name: "dead", group: "Benchmark", value: "N", def: "50", help: "sessions that fall silent in each trial; with --side client, none do"},
			{name: "compare", group: "Benchmark", help: "the same again with such that are not protected from their own stalls"},
		},
		examples: `  livenet bench stall
  livenet bench stall --transport quic --sessions 1500 --trials 8
  livenet bench stall --starve gc --trials 1 --compare
  livenet bench stall --side client`,
	}, readStall)
}

// What a trial may be.
const (
	mostTrials  = 10_000
	longestStop = 1000 // timeouts
)

func readStall(f *flags) measurement {
	transport := f.oneOf("transport", stack.Names...)
	s := load.Stall{
		Transport: transport,
		Codec:     f.oneOf("codec", "frame", "raw"),
		IO:        f.serverIO(transport),
		Sessions:  f.number("sessions", 1, mostSessions),
		Timeout:   f.durationUpTo("timeout", longestBeat),
		Beat:      f.duration("beat"),
		Side:      f.oneOf("side", load.SideServer, load.SideClient),
		Starve:    f.oneOf("starve", load.Starvations...),
		Stops:     f.factors("stops", longestStop),
		Trials:    f.number("trials", 1, mostTrials),
		Dead:      f.number("dead", 0, mostSessions),
		Compare:   f.on("compare"),
	}
	if s.Beat == 0 {
		s.Beat = s.Timeout / 4
	}
	f.checkBeat(s.Transport, s.Codec, s.Beat, s.Timeout)
	_, stops := f.given("stops")
	_, dead := f.given("dead")
	if s.Side == load.SideClient && !dead {
		s.Dead = 0
	}
	switch {
	case f.err != nil:
	case s.Side == load.SideClient && s.Dead > 0:
		f.fail("%s has no effect with %s: it is for --side %s", f.with("dead"), f.with("side"), load.SideServer)
	case s.Side == load.SideClient && s.Starve != load.StarveStop:
		f.fail("%s has no effect with %s: it is for --side %s", f.with("starve"), f.with("side"), load.SideServer)
	case s.Side == load.SideClient && s.Codec == "raw":
		f.fail("%s needs a codec in which servers answer, and %s is none", f.with("side"), f.with("codec"))
	case s.Dead >= s.Sessions:
		f.fail("%s must be below %s: none would go on beating", f.with("dead"), f.with("sessions"))
	case stops && s.Starve != load.StarveStop:
		f.fail("%s has no effect with %s: it is for --starve %s", f.with("stops"), f.with("starve"), load.StarveStop)
	case stops && len(s.Stops) > s.Trials:
		f.fail("%s is too few for the %d of %s: each trial takes the next of them", f.with("trials"), len(s.Stops), f.with("stops"))
	}
	return byWorkers(s.Run, &s.Command)
}

// checkBeat finds what contradicts itself in how sessions beat.
func (f *flags) checkBeat(transport, codec string, beat, timeout time.Duration) {
	switch {
	case f.err != nil:
	case codec == "raw" && transport != "tcp":
		f.fail("%s raw is for tcp: over %s, clients beat as livenet dial does, in frames", f.spell("codec"), transport)
	case timeout <= beat:
		f.fail("%s must be longer than %s: a session in good health would be ended", f.with("timeout"), f.with("beat"))
	}
}

// factors is a flag's value, positive numbers with commas between them, none of
// them above most.
func (f *flags) factors(name string, most float64) []float64 {
	var list []float64
	for text := range strings.SplitSeq(f.text(name), ",") {
		n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil || !(n > 0 && n <= most) {
			f.fail("%s %q: want numbers above 0 and up to %v, with commas between them", f.spell(name), f.text(name), most)
			return nil
		}
		list = append(list, n)
	}
	return list
}
