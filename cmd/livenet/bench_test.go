package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/livenet/livenet/internal/bench"
)

// Benchmarks that are soon over, and measure nothing worth knowing.
var tinyBenchmarks = []struct {
	args   string
	tables map[string]int // and how many rows each has
}{
	{"renew --leases 1000 --for 20ms", map[string]int{"rows": 7, "load": 3}},
	{"echo --for 20ms", map[string]int{"rows": 12}},
	{"echo --for 20ms --transport tls --codec frame --size 1", map[string]int{"rows": 2}},
}

func TestBenchTables(t *testing.T) {
	for _, test := range tinyBenchmarks {
		t.Run(test.args, func(t *testing.T) {
			t.Parallel()
			status, stdout, stderr := try(t, nil, strings.Fields("bench "+test.args)...)
			if status != 0 || stderr != "" {
				t.Errorf("exit status %d: %s", status, stderr)
			}
			for line := range strings.Lines(stdout) {
				if n := utf8.RuneCountInString(line) - 1; n > helpWidth {
					t.Errorf("a line of %d columns: %s", n, line)
				}
			}
			// Nothing says that this terminal knows more than ASCII.
			if strings.ContainsFunc(stdout, func(r rune) bool { return r > '~' }) || !strings.Contains(stdout, " x\n") {
				t.Errorf("got\n%s", stdout)
			}
			_, stdout, _ = try(t, map[string]string{"LC_ALL": "C.UTF-8"}, strings.Fields("bench "+test.args)...)
			if !strings.Contains(stdout, " ×\n") {
				t.Errorf("got\n%s", stdout)
			}
		})
	}
}

func TestBenchJSON(t *testing.T) {
	for _, test := range tinyBenchmarks {
		t.Run(test.args, func(t *testing.T) {
			t.Parallel()
			status, stdout, stderr := try(t, nil, strings.Fields("bench "+test.args+" --json")...)
			if status != 0 || stderr != "" {
				t.Errorf("exit status %d: %s", status, stderr)
			}
			got := object(t, stdout)
			if name, _, _ := strings.Cut(test.args, " "); got["bench"] != name || got["interrupted"] != false {
				t.Errorf("got %s", stdout)
			}
			if name, _, _ := strings.Cut(test.args, " "); name == "echo" {
				want := map[bool][2]any{false: {"all", "all"}, true: {"tls", "frame"}}[strings.Contains(test.args, "tls")]
				if set := got["settings"].(map[string]any); [2]any{set["transport"], set["codec"]} != want {
					t.Errorf("the settings are %v, want %v", set, want)
				}
			}
			for key, n := range test.tables {
				if rows, _ := got[key].([]any); len(rows) != n {
					t.Errorf("%s has %d rows, want %d", key, len(rows), n)
				}
			}
		})
	}
}

// object is the one JSON object that text is.
func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal([]byte(text), &o); err != nil || strings.Count(text, "\n") != 1 {
		t.Fatalf("not one line of JSON: %v\n%s", err, text)
	}
	return o
}

func TestBenchBadUsage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, says string }{
		{"rnew", `: unknown command "rnew": did you mean renew?`},
		{"--leases 5", ": unknown flag --leases: see --help"},
		{"renew x", ` renew: unexpected argument "x": see livenet bench renew --help`},
		{"renew --leases 0", ` renew: --leases "0": want a whole number from 1 to 2000000`},
		{"renew --leases 2000001", ` renew: --leases "2000001": want a whole number from 1 to 2000000`},
		{"renew --leases 1e3", ` renew: --leases "1e3": want a whole number from 1 to 2000000`},
		{"renew --for 1ms", " renew: --for 1ms: out of range: from 20ms to 1m"},
		{"renew --for 2m", " renew: --for 2m: out of range: from 20ms to 1m"},
		{"renew --for soon", ` renew: --for "soon": want a duration, such as 500ms, 4s or 1h30m`},
		{"renew --for=", ` renew: --for "": want a duration, such as 500ms, 4s or 1h30m`},
		{"renew --json=maybe", ` renew: --json "maybe": want true or false`},
		{"renew --jsn", " renew: unknown flag --jsn: did you mean --json?"},
		{"renew --leases", " renew: --leases needs a value"},
		{"echo --transport udp", ` echo: unknown transport "udp": there are all, tcp, tls, yamux and quic`},
		{"echo --codec line", ` echo: unknown codec "line": there are all, raw and frame`},
		{"echo --size 0", ` echo: --size "0": want a whole number from 1 to 65536`},
		{"echo --size 1MiB", ` echo: --size "1MiB": want a whole number from 1 to 65536`},
	} {
		status, stdout, stderr := try(t, nil, append([]string{"bench"}, strings.Fields(test.args)...)...)
		if status != statusUsage || stdout != "" || stderr != "livenet bench"+test.says+"\n" {
			t.Errorf("bench %s: exit status %d, %q, %q", test.args, status, stdout, stderr)
		}
	}
	if status, _, stderr := try(t, map[string]string{"LIVENET_BENCH_RENEW_LEASES": "many"}, "bench", "renew"); status != statusUsage ||
		stderr != "livenet bench renew: LIVENET_BENCH_RENEW_LEASES \"many\": want a whole number from 1 to 2000000\n" {
		t.Errorf("exit status %d, %s", status, stderr)
	}
}

// Without a command, bench says what there is, as livenet does.
func TestBenchAlone(t *testing.T) {
	t.Parallel()
	status, stdout, stderr := try(t, nil, "bench")
	_, help, _ := try(t, nil, "bench", "--help")
	if status != 0 || stderr != "" || stdout != help || !strings.Contains(stdout, "\n  renew ") || !strings.Contains(stdout, "\n  echo ") {
		t.Errorf("exit status %d, %q:\n%s", status, stderr, stdout)
	}
}

// Interrupted, each benchmark ends, and says that it was.
func TestBenchInterrupted(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"renew", "echo"} {
		for _, asJSON := range []bool{false, true} {
			tr := newTrial(t)
			args := []string{"bench", name, "--for", "1m"}
			if asJSON {
				args = append(args, "--json")
			}
			tr.start(args...)
			tr.cancel()
			if status := tr.wait(); status != statusHurried || tr.stderr.String() != "" {
				t.Errorf("%s: exit status %d: %s", name, status, tr.stderr)
			}
			switch out := tr.stdout.String(); {
			case asJSON && object(t, out)["interrupted"] != true,
				!asJSON && !strings.HasSuffix(out, "\nInterrupted before there was anything to show.\n"):
				t.Errorf("%s: got\n%s", name, out)
			}
		}
	}
}

// What there is of a report is printed, whatever became of the rest.
func TestBenchmarkOutcomes(t *testing.T) {
	t.Parallel()
	some := func() *bench.Report {
		table := &bench.Table{Key: "rows", Columns: []bench.Column{{Key: "what"}}}
		table.Add("a row")
		return &bench.Report{Bench: "test", Tables: []*bench.Table{table}}
	}
	failure := errors.New("it broke")
	for _, test := range []struct {
		what        string
		report      *bench.Report
		err         error
		interrupted bool
		status      int
		printed     string
	}{
		{"whole", some(), nil, false, 0, "\na row\n"},
		{"failed at once", nil, failure, false, statusFailed, ""},
		{"failed before the first row", &bench.Report{}, failure, false, statusFailed, ""},
		{"failed half-way", some(), failure, false, statusFailed, "\na row\n"},
		{"interrupted at once", nil, nil, true, statusHurried, ""},
		{"interrupted half-way", some(), nil, true, statusHurried, "\na row\n\nInterrupted: this is what there is.\n"},
		{"failed for the interruption", some(), failure, true, statusHurried, "\na row\n\nInterrupted: this is what there is.\n"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		stdout, stderr := newCapture(), newCapture()
		p := &process{stdout: stdout, stderr: stderr, lookupEnv: func(string) (string, bool) { return "", false }}
		err := runBenchmark(ctx, p, "bench test", false, func(_ context.Context, to bench.Progress) (*bench.Report, error) {
			to.Step("a row", 1, 1)
			if test.interrupted {
				cancel()
			}
			return test.report, test.err
		})
		cancel()
		if status := report(p, err); status != test.status {
			t.Errorf("%s: exit status %d, want %d", test.what, status, test.status)
		}
		if said := stderr.String(); (said == failure.Error()+"\n") != (test.status == statusFailed) {
			t.Errorf("%s: it says %q", test.what, said)
		}
		if got := stdout.String(); !strings.HasSuffix(got, test.printed) || (got == "") != (test.printed == "") {
			t.Errorf("%s: printed\n%s", test.what, got)
		}
	}
}

// That the report can't be written is a failure.
func TestBenchmarkToAFullDisk(t *testing.T) {
	t.Parallel()
	for _, asJSON := range []bool{false, true} {
		p := &process{stdout: failingWriter{}, stderr: newCapture(), lookupEnv: func(string) (string, bool) { return "", false }}
		err := runBenchmark(t.Context(), p, "bench test", asJSON, func(context.Context, bench.Progress) (*bench.Report, error) {
			return &bench.Report{}, nil
		})
		if err == nil {
			t.Error("it is none")
		}
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }
