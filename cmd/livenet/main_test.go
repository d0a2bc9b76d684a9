package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// asMain is a variable that makes the test's binary run as livenet, for tests of signals and
// exit statuses.
const asMain = "TEST_LIVENET_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
	}
	os.Setenv(quietQUIC, "true")
	flag.Parse()
	if flag.Lookup("test.parallel").Value.String() == fmt.Sprint(runtime.GOMAXPROCS(0)) { // the default
		flag.Set("test.parallel", "8") // parallel tests mostly wait
	}
	if signal.Ignored(syscall.SIGHUP) { // under nohup, which those that tests spawn would inherit
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	goleak.VerifyTestMain(m)
}

// soon is the longest that a test waits for something that has to happen, on a busy machine.
const soon = 30 * time.Second

// A trial runs a command within the test's process.
type trial struct {
	t              *testing.T
	stdin          io.Reader
	stdout, stderr *capture
	out            io.Writer         // in place of stdout; nil: that is where it writes
	env            map[string]string // flags read the real one: see spawn
	exitTimeout    time.Duration
	cancel         context.CancelFunc // the first signal
	hurry          chan struct{}      // closed: the second
	done           chan struct{}
	status         int
}

func newTrial(t *testing.T) *trial {
	return &trial{
		t:      t,
		stdin:  strings.NewReader(""),
		stdout: newCapture(), stderr: newCapture(),
		env:   map[string]string{"LIVENET_DATA_DIR": t.TempDir()},
		hurry: make(chan struct{}),
		done:  make(chan struct{}),
	}
}

// process returns the command's environment.
func (tr *trial) process() *process {
	p := &process{
		stdin: tr.stdin, stdout: tr.out, stderr: tr.stderr,
		getenv: func(name string) string { return tr.env[name] },
		hurry:  tr.hurry, exitTimeout: tr.exitTimeout,
	}
	for name, value := range tr.env {
		p.environ = append(p.environ, name+"="+value)
	}
	if p.stdout == nil {
		p.stdout = tr.stdout
	}
	return p
}

// start runs the command line in the background, at most until the test ends.
func (tr *trial) start(args ...string) {
	ctx, cancel := context.WithCancel(context.Background())
	tr.cancel = cancel
	p := tr.process()
	go func() {
		defer close(tr.done)
		defer tr.stdout.end()
		defer tr.stderr.end()
		if c, ok := tr.stdin.(io.Closer); ok {
			defer c.Close() // unblock writers
		}
		tr.status = run(ctx, p, args)
	}()
	tr.t.Cleanup(func() {
		cancel()
		tr.wait()
	})
}

// wait waits for the end, and returns the exit status.
func (tr *trial) wait() int {
	tr.t.Helper()
	select {
	case <-tr.done:
	case <-time.After(soon):
		tr.t.Fatalf("it does not end. It wrote:\n%s", tr.stderr)
	}
	return tr.status
}

// try runs a command line to its end.
func try(t *testing.T, env map[string]string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	tr := newTrial(t)
	maps.Copy(tr.env, env)
	tr.start(args...)
	status = tr.wait()
	return status, tr.stdout.String(), tr.stderr.String()
}

// A line is one of the JSON lines that serve writes.
type line map[string]any

func (l line) text(key string) string {
	s, _ := l[key].(string)
	return s
}

func (l line) number(key string) int {
	f, _ := l[key].(float64)
	return int(f)
}

// serveJSON runs serve, with lines in JSON.
func serveJSON(t *testing.T, args ...string) *trial {
	tr := newTrial(t)
	tr.start(append([]string{"serve", "--log-format", "json"}, args...)...)
	return tr
}

// event waits for the n-th line, from 1, that has these fields.
func (tr *trial) event(n int, fields line) line {
	tr.t.Helper()
	var found line
	tr.stderr.await(tr.t, func(text string) bool {
		left := n
		for _, l := range lines(tr.t, text) {
			if l.has(fields) {
				if left--; left == 0 {
					found = l
					return true
				}
			}
		}
		return false
	})
	return found
}

func (l line) has(fields line) bool {
	for k, v := range fields {
		if l[k] != v {
			return false
		}
	}
	return true
}

// addr waits for a listener of that transport, and returns its address.
func (tr *trial) addr(transport string) string {
	tr.t.Helper()
	return tr.event(1, line{"msg": "listening", "transport": transport}).text("addr")
}

func lines(t *testing.T, text string) []line {
	t.Helper()
	var list []line
	for s := range strings.Lines(text) {
		if !strings.HasSuffix(s, "\n") {
			break // still being written
		}
		var l line
		if err := json.Unmarshal([]byte(s), &l); err != nil {
			t.Fatalf("not a JSON line: %q: %v", s, err)
		}
		list = append(list, l)
	}
	return list
}

// A capture records what a command writes; a test can wait for a text.
type capture struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	ended   bool
	changed chan struct{} // closed, and replaced, whenever there is more
}

func newCapture() *capture { return &capture{changed: make(chan struct{})} }

func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wake()
	return c.buf.Write(p)
}

func (c *capture) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	c.wake()
}

// wake wakes all calls of await. The caller holds the lock.
func (c *capture) wake() {
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *capture) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.String()
}

// await waits until wanted returns true for what was written.
func (c *capture) await(t *testing.T, wanted func(text string) bool) {
	t.Helper()
	timeout := time.After(soon)
	for {
		c.mu.Lock()
		text, ended, changed := c.buf.String(), c.ended, c.changed
		c.mu.Unlock()
		if wanted(text) {
			return
		}
		if ended {
			t.Fatalf("it ended without what was waited for:\n%s", text)
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("what was waited for does not come:\n%s", text)
		}
	}
}
