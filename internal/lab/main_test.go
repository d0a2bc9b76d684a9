package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Workers are this program again, which here is the test.
func TestMain(m *testing.M) {
	if os.Getenv(workerEnv) != "" {
		main()
		return
	}
	// The experiments mostly wait, each for its own processes.
	flag.Parse()
	flag.Set("test.parallel", "6")
	os.Exit(m.Run())
}

// lab runs a command line and returns what it prints.
func runLab(t *testing.T, line string) (string, error) {
	t.Helper()
	var stdout bytes.Buffer
	err := run(t.Context(), append([]string{"lab"}, strings.Fields(line)...), &stdout, t.Output())
	return stdout.String(), err
}

// Each experiment runs with --small and finds that livenet keeps its promises: no session that
// beats is closed, and nothing is early or left over.
func TestExperiments(t *testing.T) {
	for _, line := range []string{
		"renew",
		"renew --stalled --match Lease",
		"echo",
		"hold --codec raw",
		"hold --codec raw --io goroutine",
		"hold --io handler",
		"hold --evidence acks --timeout 3s --for 4s",
		"hold --transport tls",
		"hold --transport yamux",
		"hold --transport yamux --no-stream",
		"hold --transport quic",
		"churn",
		"churn --transport yamux",
		"churn --transport quic",
		"stall",
		"stall --codec raw --io goroutine",
		"stall --transport yamux",
		"stall --transport quic",
		"stall --by clients --timeout 1s",
		"stall --by clients --timeout 1s --transport yamux",
		"stall --by clients --timeout 1s --transport quic",
		"stall --by repeat",
		"stall --by cgroup",
		"detect",
		"fail",
		"fail --transport yamux",
		"fail --transport quic",
		"fail --transport leases --sessions 10000",
	} {
		t.Run(line, func(t *testing.T) {
			// Most of them mostly wait; those that count nanoseconds don't matter here.
			t.Parallel()
			if strings.Contains(line, byCgroup) {
				if _, _, err := cgroupRoot(); err != nil {
					t.Skip(err)
				}
			}
			if strings.HasPrefix(line, "detect") {
				if why := cannotIsolate(); why != "" {
					t.Skip(why)
				}
			}
			out, err := runLab(t, line+" --small --json")
			if err != nil {
				t.Fatal(err)
			}
			var r struct {
				Experiment string
				Tables     []struct{ Rows []map[string]any }
			}
			if err := json.Unmarshal([]byte(out), &r); err != nil || r.Experiment == "" || len(r.Tables[0].Rows) == 0 {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// The experiment can fail: a server without protection closes sessions that beat.
func TestUnprotectedServerKills(t *testing.T) {
	t.Parallel()
	out, err := runLab(t, "stall --small --json --transport quic --stops 3 --unprotected")
	var r struct {
		Tables []struct{ Rows []stallRow }
	}
	if err := errors.Join(err, json.Unmarshal([]byte(out), &r)); err != nil {
		t.Fatal(err)
	}
	if row := r.Tables[0].Rows[0]; row.FalseKills == 0 || row.Dead != row.Reaped {
		t.Errorf("got %+v", row)
	}
}

// A raw client reports the end of a session that has just beaten as a failure.
func TestRawClientFindsFalseKills(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := newRawClient(dialTask{Addr: l.Addr().String(), Transport: "tcp", Codec: "frame", Sessions: 1, Beat: time.Minute, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	var a answer
	if err := c.obey(order{Open: 1}, &a); err != nil || a.Client.Connected != 1 {
		t.Fatalf("%+v, %v", a.Client, err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if host, _, _ := net.SplitHostPort(conn.RemoteAddr().String()); host != source(0).String() {
		t.Errorf("it comes from %s", host)
	}
	conn.Close()
	for until := time.Now().Add(10 * time.Second); a.Client.Lost == 0 && time.Now().Before(until); {
		if err := c.obey(order{}, &a); err != nil {
			t.Fatal(err)
		}
	}
	if a.Client.FalseKills != 1 || a.Client.gone() != 0 {
		t.Errorf("got %+v", a.Client)
	}
}

// Peers leave every page and plot whole, and draw them again from the results.
func TestPeers(t *testing.T) {
	t.Parallel()
	first, again := t.TempDir(), t.TempDir()
	if _, err := runLab(t, "peers --small --out "+first); err != nil {
		t.Fatal(err)
	}
	if _, err := runLab(t, "peers --from "+filepath.Join(first, "results.json")+" --out "+again); err != nil {
		t.Fatal(err)
	}
	r, err := readResults(filepath.Join(first, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(r.family(familyDeadlines)), len(ways); got != want {
		t.Errorf("%d ways, want %d", got, want)
	}
	if got, want := len(r.family(familyIdle)), len(kinds()); got != want {
		t.Errorf("%d kinds, want %d", got, want)
	}
	for _, f := range families {
		page := read(t, first, f.name+".md")
		for _, row := range r.family(f.name) {
			if !strings.Contains(page, row.Name) {
				t.Errorf("%s.md says nothing of %s", f.name, row.Name)
			}
		}
		for _, p := range f.plots {
			svg := read(t, first, p.name+".svg")
			for d := xml.NewDecoder(strings.NewReader(svg)); ; {
				if _, err := d.Token(); err == io.EOF {
					break
				} else if err != nil {
					t.Fatalf("%s.svg: %v", p.name, err)
				}
			}
			if svg != read(t, again, p.name+".svg") || !strings.Contains(page, "("+p.name+".svg)") {
				t.Errorf("%s.svg is another the second time, or not on the page", p.name)
			}
		}
	}
}

func read(t *testing.T, folder, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestBadUsage(t *testing.T) {
	for line, want := range map[string]string{
		"hold --sessions 1":                      "--sessions 1: want 2 to 1000000",
		"hold --transport quic --sessions 20001": "--sessions 20001: quic may have 20000",
		"hold --transport pigeon":                "--transport pigeon: there are tcp, tls, yamux, quic",
		"hold --codec raw --transport yamux":     "--codec raw is for tcp: other clients beat in frames",
		"hold --timeout 1s":                      "a timeout of 1s must be longer than a beat of 10s",
		"hold --no-stream":                       "--no-stream is for yamux",
		"hold --evidence acks --transport tls":   "--evidence acks is for tcp",
		"detect --timeout 2s":                    "--timeout 2s: acks need 3s",
		"stall --dead 10 --sessions 10":          "of 10 sessions 10 are to be silent: none would beat",
		"stall --stops 0":                        "--stops 0: want more than 0, and 1h0m0s at most",
		"echo --for 2h":                          "--for 2h0m0s: want 10ms to 1h0m0s",
		"chrn":                                   `unknown experiment "chrn": see --help`,
		"churn x":                                `unexpected argument "x"`,
		"stall --by clients --codec raw":         "--by clients needs a codec in which servers answer",
		"fail --sessions 1000000 --neighbours 1": "--sessions 1000001: tcp may have 1000000",
		"peers --family none":                    "--family none: there are , deadlines, idle",
	} {
		if _, err := runLab(t, line); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
	if err := fits(descriptors()); err == nil || !strings.Contains(err.Error(), "RLIMIT_NOFILE") {
		t.Errorf("got %v", err)
	}
}
