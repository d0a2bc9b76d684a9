// Livenet serves and dials connections over TCP, QUIC or yamux, and closes them when the
// peer is dead or a deadline has passed.
//
//	livenet serve --transport quic --policy sliding --timeout 4s
//	livenet dial --transport quic 127.0.0.1:7373
//	livenet demo
//
// See docs/cli.md, or livenet COMMAND --help.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	// quic-go would log to stderr, among the event lines, that the system does not allow
	// UDP buffers of 7 MB.
	if _, set := os.LookupEnv(quietQUIC); !set {
		os.Setenv(quietQUIC, "true")
	}
	ctx, hurry := interrupts()
	os.Exit(run(ctx, &process{
		stdin:   os.Stdin,
		stdout:  os.Stdout,
		stderr:  os.Stderr,
		getenv:  os.Getenv,
		environ: os.Environ(),
		hurry:   hurry,
	}, os.Args[1:]))
}

const quietQUIC = "QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING"

// repeats is how long after the first signal another one is ignored: timeout(1), for
// instance, signals the process and then its group.
const repeats = 50 * time.Millisecond

// interrupts returns a context that the first terminating signal cancels, and a channel that
// the second one closes. Its goroutine ends with the process.
func interrupts() (context.Context, <-chan struct{}) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup ignores it
		signal.Notify(signals, syscall.SIGHUP)
	}
	ctx, cancel := context.WithCancel(context.Background())
	hurry := make(chan struct{})
	go func() {
		<-signals
		first := time.Now()
		cancel()
		for range signals {
			if time.Since(first) > repeats {
				break
			}
		}
		close(hurry)
		time.AfterFunc(defaultExitTimeout, func() { os.Exit(statusHurried) })
	}()
	return ctx, hurry
}
