package main

import (
	"context"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/livenet/livenet/internal/story"
	"github.com/livenet/livenet/liveness"
)

func TestDemoBadUsage(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--speed 0":   `--speed "0": want a number from 0.1 to 40`,
		"--speed -1":  `--speed "-1": want a number from 0.1 to 40`,
		"--speed 41":  `--speed "41": want a number from 0.1 to 40`,
		"--speed NaN": `--speed "NaN": want a number from 0.1 to 40`,
		"--speed x":   `--speed "x": want a number`,
		"x":           `unexpected argument "x": see livenet demo --help`,
	} {
		status, stdout, stderr := try(t, nil, append([]string{"demo"}, strings.Fields(args)...)...)
		if status != statusUsage || stdout != "" || stderr != "livenet demo: "+want+"\n" {
			t.Errorf("demo %s: exit status %d, %q, %q", args, status, stdout, stderr)
		}
	}
}

// The demo prints a table of six rows, and says what differs from the promise if the machine
// is too busy.
func TestDemo(t *testing.T) {
	t.Parallel()
	status, stdout, stderr := try(t, nil, "demo")
	if status == statusFailed && strings.Contains(stdout, "too busy") || strings.Contains(stdout, " late\n") {
		t.Skipf("this machine is too busy for the demo:\n%s", stdout)
	}
	if status != 0 || stderr != "" {
		t.Errorf("exit status %d: %s\n%s", status, stderr, stdout)
	}
	for _, transport := range []string{"quic", "tcp", "yamux"} {
		for _, rest := range []string{
			` +sliding 4s +22\.0s +2\d\.\ds +\d+ms +silent +(yes|peer-reset)\n`,
			` +fixed 10s +10\.0s +1\d\.\ds +\d+ms +fixed-deadline +yes\n`,
		} {
			if !regexp.MustCompile(`(?m)^` + transport + rest).MatchString(stdout) {
				t.Errorf("no row %s%s in\n%s", transport, rest, stdout)
			}
		}
	}
	for _, line := range []string{"0.0s  tcp   sliding 4s  beat 1\n", "quic  fixed 10s   fixed-deadline at 1", "All 6 ended as expected"} {
		if !strings.Contains(stdout, line) {
			t.Errorf("no %q in\n%s", line, stdout)
		}
	}
	for line := range strings.Lines(stdout) {
		if len(line) > 80 {
			t.Errorf("a line of %d columns: %s", len(line)-1, line)
		}
	}
}

// The demo fails if a single row differs from the promise.
func TestDemoFailsForOneWrongRow(t *testing.T) {
	good := story.Outcome{Reason: liveness.Silent, ClientReason: liveness.Silent}
	bad := good
	bad.Wrong = "late"
	if err := judge(io.Discard, []story.Outcome{good, good}); err != nil {
		t.Error(err)
	}
	if err := judge(io.Discard, []story.Outcome{good, bad}); err == nil || err.Error() != "1 of 2 connections did not end as expected" {
		t.Errorf("got %v", err)
	}
	var b strings.Builder
	bad.ClientReason, bad.Late, bad.Expected = liveness.PeerReset, 200*time.Millisecond, 22*time.Second
	table(&b, story.Parts()[:1], []story.Outcome{bad})
	if want := "quic       sliding 4s  22.0s     0.0s      200ms  silent  peer-reset  late\n"; !strings.HasSuffix(b.String(), want) {
		t.Errorf("\n got %swant %s", b.String(), want)
	}
}

func TestDemoInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	out := newCapture()
	p := &process{stdout: out, stderr: out, getenv: func(string) string { return "" }}
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, p, []string{"demo", "--speed", "1"}) }()
	out.await(t, func(text string) bool { return strings.Contains(text, "beat 1\n") })
	cancel()
	if status := <-ended; status != statusHurried {
		t.Errorf("exit status %d: %s", status, out)
	}
}
