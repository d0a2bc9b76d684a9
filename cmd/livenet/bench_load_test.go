package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"
)

// The benchmarks of several processes are of this system only.
func linuxOnly(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("it needs Linux")
	}
}

// benchProcess is a benchmark as a process of its own, still to be started.
// What it prints goes to stdout.
func benchProcess(t *testing.T, args ...string) (cmd *exec.Cmd, stdout *bytes.Buffer) {
	t.Helper()
	linuxOnly(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.CommandContext(t.Context(), exe, append([]string{"bench"}, args...)...)
	cmd.Env = append(os.Environ(), asMain+"=1")
	stdout = new(bytes.Buffer)
	cmd.Stdout = stdout
	return cmd, stdout
}

// A result is what a benchmark prints with --json.
type result struct {
	Bench       string
	Interrupted bool
	Rows        []line
	Memory      []line
	LeftOver    []line `json:"left_over"`
}

func resultOf(t *testing.T, stdout *bytes.Buffer) result {
	t.Helper()
	var r result
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil || len(r.Rows) != 1 {
		t.Fatalf("it prints %q: %v", stdout, err)
	}
	return r
}

func TestBenchHold(t *testing.T) {
	for _, args := range []string{
		"--transport tcp --codec raw --io goroutine",
		"--transport tcp --reuse-port --servers 2 --clients 2",
		"--transport yamux",
		"--transport quic",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			cmd, stdout := benchProcess(t, append(strings.Fields("hold --json --sessions 200 --beat 500ms --timeout 20s --for 1s"), strings.Fields(args)...)...)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v: %s", err, &stderr)
			}
			r := resultOf(t, stdout)
			if row := r.Rows[0]; r.Bench != "hold" || r.Interrupted || row.number("sessions") != 200 || row.number("false_kills") != 0 || row.number("beats_per_s") < 100 {
				t.Errorf("got %+v", r)
			}
			if len(r.Memory) == 0 || r.Memory[0].text("what") != "server" {
				t.Errorf("memory: %+v", r.Memory)
			}
		})
	}
}

// The tables fit a terminal.
func TestBenchHoldText(t *testing.T) {
	t.Parallel()
	cmd, stdout := benchProcess(t, strings.Fields("hold --sessions 50 --beat 200ms --timeout 20s --for 400ms")...)
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(stdout.String()) {
		if n := utf8.RuneCountInString(line) - 1; n > helpWidth {
			t.Errorf("a line of %d columns: %s", n, line)
		}
	}
	for _, word := range []string{"connects/s", "false kills", "server-stacks", "of a core"} {
		if !strings.Contains(stdout.String(), word) {
			t.Errorf("no %s in\n%s", word, stdout)
		}
	}
}

func TestBenchChurn(t *testing.T) {
	t.Parallel()
	cmd, stdout := benchProcess(t, "churn", "--json", "--for", "500ms", "--parallel", "2")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	r := resultOf(t, stdout)
	if r.Bench != "churn" || r.Rows[0].number("connections") < 2 || len(r.LeftOver) != 3 || r.LeftOver[0].number("left") > 0 {
		t.Errorf("got %+v", r)
	}
}

// children are the workers that a process has started.
func children(t *testing.T, of int) []int {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var list []int
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if _, parent := processState(pid); parent == of {
			list = append(list, pid)
		}
	}
	return list
}

// processState is a process's state, such as "S" or "Z", and its parent; there
// is none once it has ended.
func processState(pid int) (state string, parent int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0
	}
	// The name in brackets may hold anything.
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	if len(f) < 2 {
		return "", 0
	}
	parent, _ = strconv.Atoi(f[1])
	return f[0], parent
}

// awaitNone waits until processes have ended.
func awaitNone(t *testing.T, pids []int) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		left := 0
		for _, pid := range pids {
			if state, _ := processState(pid); state != "" && state != "Z" {
				left++
			}
		}
		if left == 0 {
			return
		}
		if time.Since(began) > soon {
			t.Fatalf("%d of %d workers are left", left, len(pids))
		}
	}
}

// Whatever ends the benchmark, its workers end as well: they are told, or find
// that nobody is there to tell them.
func TestBenchHoldEnded(t *testing.T) {
	for _, test := range []struct {
		name   string
		signal syscall.Signal
		status int
	}{
		{"Interrupted", syscall.SIGINT, statusHurried},
		{"Terminated", syscall.SIGTERM, statusHurried},
		{"Killed", syscall.SIGKILL, -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cmd, stdout := benchProcess(t, strings.Fields("hold --json --sessions 500 --beat 200ms --timeout 20s --for 1h --servers 2 --clients 2")...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Process.Kill()
			var workers []int
			for began := time.Now(); len(workers) < 4; time.Sleep(5 * time.Millisecond) {
				if workers = children(t, cmd.Process.Pid); time.Since(began) > soon {
					t.Fatal("no workers")
				}
			}
			awaitSockets(t, workers, 2*500) // and some for other things
			cmd.Process.Signal(test.signal)
			if status := exitStatus(cmd.Wait()); status != test.status {
				t.Errorf("exit status %d, want %d", status, test.status)
			}
			awaitNone(t, workers)
			if test.signal == syscall.SIGKILL {
				return
			}
			if r := resultOf(t, stdout); !r.Interrupted || r.Rows[0].number("sessions") < 400 || r.Rows[0].number("lost") != 0 {
				t.Errorf("got %+v", r)
			}
		})
	}
}

// A server that is stopped when the benchmark ends does not stay: neither
// stopped, nor at all.
func TestBenchStallEnded(t *testing.T) {
	for signal, status := range map[syscall.Signal]int{syscall.SIGINT: statusHurried, syscall.SIGKILL: -1} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			cmd, stdout := benchProcess(t, strings.Fields("stall --json --sessions 20 --dead 2 --timeout 500ms --stops 0.2,1000 --trials 2")...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Process.Kill()
			workers := awaitStopped(t, cmd.Process.Pid, 100*time.Millisecond)
			cmd.Process.Signal(signal)
			if got := exitStatus(cmd.Wait()); got != status {
				t.Errorf("exit status %d, want %d", got, status)
			}
			awaitNone(t, workers)
			if signal == syscall.SIGKILL {
				return
			}
			if r := resultOf(t, stdout); !r.Interrupted || r.Rows[0].number("false_kills") != 0 || r.Rows[0].number("reaped") != 2 {
				t.Errorf("got %+v", r)
			}
		})
	}
}

// awaitStopped waits until one of a process's workers has been stopped for
// longer than the first stall takes.
func awaitStopped(t *testing.T, of int, longer time.Duration) (workers []int) {
	t.Helper()
	var since time.Time
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		stopped := false
		workers = children(t, of)
		for _, pid := range workers {
			if state, _ := processState(pid); state == "T" {
				stopped = true
			}
		}
		switch {
		case !stopped:
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > 2*longer:
			return workers
		}
		if time.Since(began) > soon {
			t.Fatal("no worker is stopped")
		}
	}
}

// The tables of the others fit a terminal, too.
func TestBenchStallText(t *testing.T) {
	for args, words := range map[string][]string{
		"stall --sessions 20 --dead 2 --timeout 500ms --stops 0.5 --trials 1 --compare": {"protected, 250ms", "unprotected, 250ms", "false kills", "in time", "after p50", "In time is within 520ms of when the server went on."},
		"stall --sessions 20 --side client --timeout 1s --stops 0.5 --trials 1":         {"client", "protected, 500ms", "false kills"},
		"fail --sessions 20 --neighbours 5 --timeout 500ms":                             {"silent", "killed", "meanwhile", "neighbours lost"},
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			cmd, stdout := benchProcess(t, strings.Fields(args)...)
			if err := cmd.Run(); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(stdout.String()) {
				if n := utf8.RuneCountInString(line) - 1; n > helpWidth {
					t.Errorf("a line of %d columns: %s", n, line)
				}
			}
			for _, word := range words {
				if !strings.Contains(stdout.String(), word) {
					t.Errorf("no %s in\n%s", word, stdout)
				}
			}
			if strings.Contains(args, "client") && strings.Contains(stdout.String(), "reaped") {
				t.Errorf("nobody falls silent:\n%s", stdout)
			}
		})
	}
}

// awaitSockets waits until processes have so many descriptors.
func awaitSockets(t *testing.T, pids []int, n int) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		open := 0
		for _, pid := range pids {
			list, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
			open += len(list)
		}
		if open >= n {
			return
		}
		if time.Since(began) > soon {
			t.Fatalf("the workers have %d descriptors", open)
		}
	}
}

// What does not fit is refused in one line, and nothing is started.
func TestBenchDoesNotFit(t *testing.T) {
	t.Parallel()
	linuxOnly(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"hold --sessions 200 --servers 1": "livenet bench hold: --sessions 200 does not fit: a process may have 200 descriptors (RLIMIT_NOFILE), and a server would need 264; " +
			"ulimit -n 264, or more --servers, would raise that; the largest run that fits is --sessions 136",
		"stall --sessions 200": "livenet bench stall: --sessions 200 does not fit: a process may have 200 descriptors (RLIMIT_NOFILE), and a server would need 264; " +
			"ulimit -n 264 would raise that; the largest run that fits is --sessions 136",
		"fail --sessions 150 --neighbours 50": "livenet bench fail: --sessions 150 beside --neighbours 50 does not fit: a process may have 200 descriptors (RLIMIT_NOFILE), and a server would need 264; " +
			"ulimit -n 264 would raise that; the largest run that fits is --sessions 86 beside --neighbours 50",
		"churn --parallel 200": "livenet bench churn: --parallel 200 does not fit: a process may have 200 descriptors (RLIMIT_NOFILE), and a server would need 264; " +
			"ulimit -n 264 would raise that; the largest run that fits is --parallel 136",
	} {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", "ulimit -n 200 && exec "+exe+" bench "+args)
		cmd.Env = append(os.Environ(), asMain+"=1")
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var said []string
		for s := bufio.NewScanner(stderr); s.Scan(); {
			said = append(said, s.Text())
		}
		status := exitStatus(cmd.Wait())
		if got := strings.Join(said, "\n"); status != statusFailed || got != want {
			t.Errorf("%s: exit status %d\n got %s\nwant %s", args, status, got, want)
		}
	}
}

func TestBenchLoadBadUsage(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"hold --sessions 0":                  `hold: --sessions "0": want a whole number from 1 to 100000000`,
		"hold --sessions x":                  `hold: --sessions "x": want a whole number from 1 to 100000000`,
		"hold --servers 0":                   `hold: --servers "0": want a whole number from 1 to 10000`,
		"hold --clients -1":                  `hold: --clients "-1": want a whole number from 1 to 10000`,
		"hold --transport foo":               `hold: unknown transport "foo": there are quic, tcp and yamux`,
		"hold --codec line":                  `hold: unknown codec "line": there are frame and raw`,
		"hold --transport quic --codec raw":  "hold: --codec raw is for tcp: over quic, clients beat as livenet dial does, in frames",
		"hold --transport yamux --io parked": "hold: --io parked can't be had: yamux does not park",
		"hold --io x":                        `hold: unknown io "x": there are auto, goroutine, blocking and parked`,
		"hold --beat 10s --timeout 10s":      "hold: --timeout 10s must be longer than --beat 10s: a session in good health would be ended",
		"hold --beat 1m --timeout 1m":        "hold: --timeout 1m must be longer than --beat 1m: a session in good health would be ended",
		"hold --sessions 10 --servers 20":    "hold: --servers 20 is too many for --sessions 10: some would hold none",
		"hold --sessions 10 --clients 11":    "hold: --clients 11 is too many for --sessions 10: some would hold none",
		"stall --sessions 10 --dead 20":      "stall: --dead 20 must be below --sessions 10: none would go on beating",
		"stall --sessions 50":                "stall: --dead 50 must be below --sessions 50: none would go on beating",
		"stall --starve gc --stops 1":        "stall: --stops 1 has no effect with --starve gc: it is for --starve stop",
		"fail --peers silent --slow 1s":      "fail: --slow 1s has no effect with --peers silent: it is for --peers slow",
		"fail --peers killed --slow 20ms":    "fail: --slow 20ms has no effect with --peers killed: it is for --peers slow",
		"hold --beat 2h":                     "hold: --beat 2h: out of range: from 20ms to 1h",
		"hold --beat 1ms":                    "hold: --beat 1ms: out of range: from 20ms to 1h",
		"hold --for 25h":                     "hold: --for 25h: out of range: from 20ms to 24h",
		"hold x":                             `hold: unexpected argument "x": see livenet bench hold --help`,
		"stall --side x":                     `stall: unknown side "x": there are server and client`,
		"stall --side client --dead 5":       "stall: --dead 5 has no effect with --side client: it is for --side server",
		"stall --side client --starve gc":    "stall: --starve gc has no effect with --side client: it is for --side server",
		"stall --side client --codec raw":    "stall: --side client needs a codec in which servers answer, and --codec raw is none",
		"stall --starve x":                   `stall: unknown starve "x": there are stop, cpu, gomaxprocs, gc, cgroup and ticks`,
		"stall --stops 1,,2":                 `stall: --stops "1,,2": want numbers above 0 and up to 1000, with commas between them`,
		"stall --stops 1,2,3 --trials 2":     "stall: --trials 2 is too few for the 3 of --stops 1,2,3: each trial takes the next of them",
		"stall --stops 0":                    `stall: --stops "0": want numbers above 0 and up to 1000, with commas between them`,
		"stall --stops NaN":                  `stall: --stops "NaN": want numbers above 0 and up to 1000, with commas between them`,
		"stall --trials 0":                   `stall: --trials "0": want a whole number from 1 to 10000`,
		"stall --dead -1":                    `stall: --dead "-1": want a whole number from 0 to 100000000`,
		"stall --beat 2s":                    "stall: --timeout 2s must be longer than --beat 2s: a session in good health would be ended",
		"stall --transport quic --codec raw": "stall: --codec raw is for tcp: over quic, clients beat as livenet dial does, in frames",
		"fail --peers x":                     `fail: unknown peers "x": there are all, silent, slow and killed`,
		"fail --neighbours x":                `fail: --neighbours "x": want a whole number from 0 to 100000000`,
		"fail --slow 2h":                     "fail: --slow 2h: out of range: from 20ms to 1h",
		"churn --parallel 0":                 `churn: --parallel "0": want a whole number from 1 to 100000000`,
		"churn --transport foo":              `churn: unknown transport "foo": there are quic, tcp and yamux`,
		"churn --for 1ms":                    "churn: --for 1ms: out of range: from 20ms to 24h",
		"churn --sessions 3":                 "churn: unknown flag --sessions: see --help",
	} {
		status, stdout, stderr := try(t, nil, append([]string{"bench"}, strings.Fields(args)...)...)
		if status != statusUsage || stdout != "" || stderr != "livenet bench "+want+"\n" {
			t.Errorf("bench %s: exit status %d, %q, %q", args, status, stdout, stderr)
		}
	}
}
