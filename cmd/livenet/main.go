// Livenet serves and dials connections that end when their other end is gone:
// over TCP, QUIC or yamux, each listener with a policy of its own.
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
	// quic-go would write to the standard logger, in the midst of our own
	// lines, that the system does not allow it UDP buffers of 7 MB.
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

// repeats is how soon after the first signal another one says nothing new: timeout(1)
// for one signals the process, and then the process's group.
const repeats = 50 * time.Millisecond

// interrupts returns a context that ends with the first signal to end (the terminal's
// going away is one), and a channel that is closed by the second. Its goroutine is the process's.
func interrupts() (context.Context, <-chan struct{}) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
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
		time.AfterFunc(defaultPatience, func() { os.Exit(statusHurried) })
	}()
	return ctx, hurry
}
