// Livenet serves and dials connections over TCP, QUIC or yamux, and closes them when the
// peer is dead or a deadline has passed.
//
//	livenet serve --transport quic --policy sliding --timeout 4s
//	livenet dial --transport quic 127.0.0.1:7373
//	livenet tunnel --server quic://gw.example:7373 --listen 127.0.0.1:6379
//	livenet demo
//
// See docs/cli.md, or livenet COMMAND --help.
package main

import (
	"context"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	// quic-go would log to stderr, among the event lines, that the system does not allow
	// UDP buffers of 7 MB.
	if _, set := os.LookupEnv(quietQUIC); !set {
		os.Setenv(quietQUIC, "true")
	}
	ctx, hurry, hangups := interrupts()
	os.Exit(run(ctx, &process{
		stdin:   os.Stdin,
		stdout:  os.Stdout,
		stderr:  os.Stderr,
		getenv:  os.Getenv,
		environ: os.Environ(),
		hurry:   hurry,
		hangups: hangups,
	}, os.Args[1:]))
}

const quietQUIC = "QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING"

// repeats is how long after the first signal another one is ignored: timeout(1), for
// instance, signals the process and then its group.
const repeats = 50 * time.Millisecond

// interrupts returns a context that the first terminating signal cancels, a channel that the
// second one closes, and hangups. After a call of hangups SIGHUP doesn't terminate: it is sent
// on the channel that hangups returned. The goroutine of interrupts ends with the process.
func interrupts() (ctx context.Context, hurry <-chan struct{}, hangups func() <-chan struct{}) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup ignores it
		signal.Notify(signals, syscall.SIGHUP)
	}
	ctx, cancel := context.WithCancel(context.Background())
	second := make(chan struct{})
	var taken atomic.Pointer[chan struct{}]
	ends := func(s os.Signal) bool {
		c := taken.Load()
		if s != syscall.SIGHUP || c == nil {
			return true
		}
		select {
		case *c <- struct{}{}:
		default: // one is waiting
		}
		return false
	}
	go func() {
		for s := range signals {
			if ends(s) {
				break
			}
		}
		first := time.Now()
		cancel()
		for s := range signals {
			if time.Since(first) > repeats && ends(s) {
				break
			}
		}
		close(second)
		time.AfterFunc(defaultExitTimeout, func() { os.Exit(statusHurried) })
	}()
	return ctx, second, func() <-chan struct{} {
		c := make(chan struct{}, 1)
		taken.Store(&c)
		signal.Notify(signals, syscall.SIGHUP)
		return c
	}
}
