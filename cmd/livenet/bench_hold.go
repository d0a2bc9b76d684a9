package main

import (
	"time"

	"github.com/livenet/livenet/internal/load"
	"github.com/livenet/livenet/internal/settings"
	"github.com/livenet/livenet/internal/stack"
)

func benchHoldCommand() *command {
	const processes, profiles = "Processes", "Profiles"
	return benchmark(command{
		name:    "hold",
		summary: "what many idle sessions cost, held by many processes",
		about: `Servers and clients are processes of their own, as many as the limit on
descriptors asks for. The clients come from addresses all over 127.0.0.0/8, and each
session beats once in an interval. What it finds: memory per session, processor
time, beats a second, and sessions that were ended though they beat in time, of
which there must be none.

More than this machine admits is refused before anything is started, with the limit
that is in the way and the largest run that fits.`,
		options: []option{
			transportOption,
			beatCodecOption,
			ioOption,
			sessionsOption,
			{name: "beat", group: "Benchmark", value: "DURATION", def: "10s", help: "each session beats once in it"},
			{name: "timeout", group: "Benchmark", value: "DURATION", help: "the servers' sliding policy (default: three beats)"},
			{name: "for", group: "Benchmark", value: "DURATION", def: "10s", help: "how long they are held"},
			{name: "servers", group: processes, value: "N", help: "server processes (default: as many as it takes)"},
			{name: "clients", group: processes, value: "N", help: "client processes (default: as many as it takes)"},
			{name: "reuse-port", group: processes, help: "the servers share one port, and the kernel spreads the sessions"},
			{name: "cpu-profile", group: profiles, value: "FILE", help: "the first server's processor time while they are held, for go tool pprof"},
			{name: "heap-profile", group: profiles, value: "FILE", help: "what its heap holds at the end of that"},
		},
		examples: `  livenet bench hold --sessions 15000 --beat 2s
  livenet bench hold --transport quic --sessions 2000
  livenet bench hold --sessions 1000000 --codec raw --beat 60s --for 5m
  livenet bench hold --cpu-profile cpu.out && go tool pprof -top cpu.out`,
	}, readHold)
}

// What benchmarks of many processes have in common.
var (
	transportOption = option{name: "transport", group: "Benchmark", value: "NAME", def: "tcp", help: "quic, tcp or yamux"}
	beatCodecOption = option{name: "codec", group: "Benchmark", value: "NAME", def: "frame", help: "frame: beats are answered; raw (tcp): a beat is one byte"}
	ioOption        = option{name: "io", group: "Benchmark", value: "NAME", def: "auto", help: "how the server waits; parked (tcp on Linux): without a goroutine; goroutine: with one for each connection, of package net; blocking: in the Read of a Handler; auto parks where it can"}
	timeoutOption   = option{name: "timeout", group: "Benchmark", value: "DURATION", def: "2s", help: "the server's sliding policy"}
	beatOption      = option{name: "beat", group: "Benchmark", value: "DURATION", help: "each session beats once in it (default: a quarter of the timeout)"}
	sessionsOption  = option{name: "sessions", group: "Benchmark", value: "N", def: "10000", help: "how many"}
)

// They take their time, but not without end.
const (
	mostSessions  = 100_000_000
	mostProcesses = 10_000
	longestBeat   = time.Hour
	longestRun    = 24 * time.Hour
)

func readHold(f *flags) measurement {
	transport := f.oneOf("transport", stack.Names...)
	h := load.Hold{
		Transport: transport,
		Codec:     f.oneOf("codec", "frame", "raw"),
		IO:        f.serverIO(transport),
		Sessions:  f.number("sessions", 1, mostSessions),
		Beat:      f.durationUpTo("beat", longestBeat),
		Timeout:   f.duration("timeout"),
		For:       f.durationUpTo("for", longestRun),
		Servers:   f.processes("servers"),
		Clients:   f.processes("clients"),
		ReusePort: f.on("reuse-port"),
		Profiles:  load.Profiles{CPU: f.text("cpu-profile"), Heap: f.text("heap-profile")},
	}
	if h.Timeout == 0 {
		h.Timeout = 3 * h.Beat
	}
	f.checkBeat(h.Transport, h.Codec, h.Beat, h.Timeout)
	switch {
	case f.err != nil:
	case h.Servers > h.Sessions:
		f.fail("%s is too many for %s: some would hold none", f.with("servers"), f.with("sessions"))
	case h.Clients > h.Sessions:
		f.fail("%s is too many for %s: some would hold none", f.with("clients"), f.with("sessions"))
	}
	return byWorkers(h.Run, &h.Command)
}

// serverIO is what waits for what a session sends to the server.
func (f *flags) serverIO(transport string) string {
	io := f.oneOf("io", settings.IOAuto, settings.IOGoroutine, load.Blocking, settings.IOParked)
	parks := stack.Parks(transport)
	if io == settings.IOParked && !parks && f.err == nil {
		f.fail("%s parked can't be had: %s does not park", f.spell("io"), transport)
	}
	switch {
	case io == load.Blocking:
		return load.Blocking
	case io == settings.IOGoroutine || !parks:
		return load.Goroutine
	}
	return load.Parked
}

// processes is how many there are to be; 0: as many as it takes.
func (f *flags) processes(name string) int {
	if _, given := f.given(name); !given {
		return 0
	}
	return f.number(name, 1, mostProcesses)
}
