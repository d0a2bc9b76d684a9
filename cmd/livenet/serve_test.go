package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livenet/livenet/internal/devtls"
	"github.com/livenet/livenet/internal/eventlog"
	"github.com/livenet/livenet/internal/settings"
	"github.com/livenet/livenet/internal/stack"
	"github.com/livenet/livenet/liveness"
)

// Every invalid command line is an error of one line with status 2, and nothing is served.
func TestServeBadUsage(t *testing.T) {
	t.Parallel()
	cert := certificateFiles(t)
	for _, test := range []struct{ args, want string }{
		{"--transport foo", `unknown transport "foo": there are quic, tcp and yamux`},
		{"--policy foo", `unknown policy "foo": there are fixed and sliding`},
		{"--codec foo", `unknown codec "foo": there are auto, frame, line and raw`},
		{"--handler foo", `unknown handler "foo": there are discard, echo and log`},
		{"--evidence foo", `unknown evidence "foo": there are acks, bytes, messages and beats`},
		{"--policy sliding --timeout=", `--timeout "": want a duration, such as 500ms, 4s or 1h30m`},
		{"--timeout 0", "a policy needs a timeout: give --timeout a duration, such as 30s"},
		{"--timeout -4s", "--timeout -4s: out of range: from 20ms to 87600h (ten years)"},
		{"--timeout 1ms", "--timeout 1ms: out of range: from 20ms to 87600h (ten years)"},
		{"--timeout 100000h", "--timeout 100000h: out of range: from 20ms to 87600h (ten years)"},
		{"--timeout soon", `--timeout "soon": want a duration, such as 500ms, 4s or 1h30m`},
		{"--drain 0s", "--drain 0s: out of range: from 20ms to 87600h (ten years)"},
		{"--opening 1h", "--opening 1h has no effect: --timeout 30s ends a peer that says nothing before"},
		{"--probe-after 30s", "--probe-after 30s must be below --timeout 30s: there would be no time to answer"},
		{"--probe-after 3s --codec raw", "--probe-after 3s makes no sense with the raw codec: it has no ping; line, frame and auto have"},
		{"--stream-policy fixed --stream-timeout 4s", "--stream-policy: a session over tcp is one stream: --policy judges it"},
		{"--transport quic --stream-policy fixed", "a policy needs a timeout: --stream-policy goes with --stream-timeout"},
		{"--tls-cert " + cert.cert, "--tls-cert is without its key: add --tls-key"},
		{"--tls-key " + cert.key, "--tls-key is without its certificate: add --tls-cert"},
		{"--client-ca " + cert.cert, "--client-ca needs TLS: add --tls"},
		{"--transport quic --tls=false", "--tls can't be false: quic always has TLS"},
		{"--reset-key x", "--reset-key has no effect: over tcp the kernel resets the sessions of a server that was killed"},
		{"--transport quic --reset-key x --reuse-port", "--reset-key and --reuse-port contradict each other: a process would reset the others' sessions"},
		{"--tls=perhaps", `--tls "perhaps": want true or false`},
		{"--log-format xml", `unknown log format "xml": there are json and text`},
		{"--log-level loud", `unknown log level "loud": there are debug, info, warn and error`},
		{"--listen 127.0.0.1:70000", `--listen "127.0.0.1:70000": the port must be a number from 0 to 65535, or the name of a service`},
		{"--listener tcp://127.0.0.1:0?policy=sliding", `--listener "tcp://127.0.0.1:0?policy=sliding": a policy needs a timeout: add timeout=30s, for instance`},
		{"--listener foo://127.0.0.1:0?timeout=4s", `--listener "foo://127.0.0.1:0?timeout=4s": unknown transport "foo": there are quic, tcp and yamux`},
		{"--listener tcp://127.0.0.1:0?timeout=4s&timeuot=3s", `--listener "tcp://127.0.0.1:0?timeout=4s&timeuot=3s": unknown setting "timeuot": did you mean timeout?`},
		{"--listener tcp://127.0.0.1:0?timeout=4s --timeout 5s", "--timeout does not reach into a --listener URL: put it there, or add --listen for a listener that the flags describe"},
		{"--listen 127.0.0.1:0 --listen=127.0.0.1:0", "--listen is given more than once: add a --listener URL for each further listener"},
		{"--timeuot 4s", "unknown flag --timeuot: did you mean --timeout?"},
		{"--colour red", "unknown flag --colour: see --help"},
		{"--timeout", "--timeout needs a value"},
		{"127.0.0.1:7373", `unexpected argument "127.0.0.1:7373": see livenet serve --help`},
	} {
		status, stdout, stderr := try(t, nil, append([]string{"serve"}, strings.Fields(test.args)...)...)
		if status != statusUsage || stdout != "" {
			t.Errorf("serve %s: exit status %d, stdout %q", test.args, status, stdout)
		}
		want := "livenet serve: " + test.want
		if !strings.HasPrefix(stderr, want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("serve %s:\n got %swant %s", test.args, stderr, want)
		}
	}
}

// A file that can't be used has status 1, not 2.
func TestServeUnusableFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	nothing := filepath.Join(dir, "nothing.pem")
	if err := os.WriteFile(nothing, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	cert, otherKey := certificateFiles(t), certificateFiles(t)
	for _, test := range []struct{ args, want string }{
		{"--tls-cert " + cert.cert + " --tls-key " + otherKey.key,
			"can't use the certificate " + cert.cert + " with the key " + otherKey.key + ": tls: private key does not match public key"},
		{"--tls-cert " + dir + "/none --tls-key " + cert.key, "can't read the certificate: open " + dir + "/none: "},
		{"--tls --client-ca " + nothing, "there is no certificate in " + nothing},
		{"--tls --client-ca " + dir + "/none", "can't read the authorities' certificates: open " + dir + "/none: "},
	} {
		status, _, stderr := try(t, nil, append([]string{"serve", "--listen", "127.0.0.1:0"}, strings.Fields(test.args)...)...)
		if want := "livenet serve: " + test.want; status != statusFailed || !strings.HasPrefix(stderr, want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("serve %s: exit status %d:\n got %swant %s", test.args, status, stderr, want)
		}
	}
}

// The last line says that serving has ended, and counts its sessions by reason.
func TestServeSaysThatItStopped(t *testing.T) {
	t.Parallel()
	tr := serveJSON(t, "--listen", "127.0.0.1:0", "--listener", "yamux://127.0.0.1:0?timeout=100ms")
	conn, err := net.Dial("tcp", tr.addr("yamux"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	tr.event(1, line{"msg": "closed", "kind": "session"})
	try(t, nil, "dial", tr.addr("tcp"))
	tr.event(1, line{"msg": "closed", "kind": "session", "reason": "done"})
	tr.cancel()
	tr.wait()
	all := lines(t, tr.stderr.String())
	last := all[len(all)-1]
	if of, _ := last["of"].(map[string]any); last.text("msg") != "stopped" || last.number("sessions") != 2 ||
		line(of).number("no-hello")+line(of).number("silent") != 1 || line(of).number("peer:done") != 1 {
		t.Errorf("the last line is %v", last)
	}
}

// files are the names of a certificate's and its key's file.
type files struct{ cert, key string }

func certificateFiles(t *testing.T) files {
	t.Helper()
	s := devtls.Store{Dir: t.TempDir()}
	if _, err := s.Identity(); err != nil {
		t.Fatal(err)
	}
	return files{cert: filepath.Join(s.Dir, "cert.pem"), key: filepath.Join(s.Dir, "key.pem")}
}

// All listeners are bound, or none.
func TestServeBusyPort(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for transport, addr := range map[string]net.Addr{"tcp": busy.Addr(), "yamux": busy.Addr(), "quic": udp.LocalAddr()} {
		_, port, _ := net.SplitHostPort(addr.String())
		status, _, stderr := try(t, nil, "serve", "--listener", "tcp://127.0.0.1:0?timeout=4s",
			"--listener", fmt.Sprintf("%s://%s?timeout=4s", transport, addr))
		want := fmt.Sprintf("livenet serve: can't listen on %s %s: port %s is in use: stop the process that uses it, or choose another port, or 0 for any free one\n", transport, addr, port)
		if status != statusFailed || stderr != want {
			t.Errorf("exit status %d:\n got %swant %s", status, stderr, want)
		}
	}
}

func TestWhyNotListen(t *testing.T) {
	l := &settings.Listener{Transport: "tcp", Address: "127.0.0.1:80"}
	for _, test := range []struct {
		err  error
		want string
	}{
		{os.NewSyscallError("bind", syscall.EACCES), "permission denied: port 80 needs privileges: take one from 1024 on, or grant CAP_NET_BIND_SERVICE"},
		{os.NewSyscallError("bind", syscall.EADDRNOTAVAIL), "this machine does not have that address: 0.0.0.0 means all of its addresses"},
		{&net.DNSError{Name: "foo"}, "no address is known for foo"},
		{errors.New("no reason"), "no reason"},
	} {
		if got := whyNotListen(l, &net.OpError{Op: "listen", Net: "tcp", Err: test.err}); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

// Without flags serve echoes on the default port.
func TestServeDefaults(t *testing.T) {
	t.Parallel()
	tr := serveJSON(t, "--listen", "127.0.0.1:0")
	if l := tr.event(1, line{"msg": "listening"}); l.text("policy") != "sliding 30s" || l.text("transport") != "tcp" {
		t.Errorf("got %v", l)
	}
	if got := say(t, tr.addr("tcp"), "hello"); got != "hello" {
		t.Errorf("it echoes %q", got)
	}
}

// say sends words over plain TCP, half-closes, and returns the answer.
func say(t *testing.T, addr, words string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, words); err != nil {
		t.Fatal(err)
	}
	conn.(*net.TCPConn).CloseWrite()
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Error(err)
	}
	return string(answer)
}

// The commands in the documentation work.
func TestServeTheMainJob(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"quic", "tcp", "yamux"} {
		for _, policy := range []string{"sliding", "fixed"} {
			tr := serveJSON(t, "--transport", transport, "--policy", policy, "--listen", "127.0.0.1:0")
			client := newTrial(t)
			client.env = tr.env
			client.stdin = strings.NewReader("hello\n")
			client.start("dial", "--transport", transport, tr.addr(transport))
			if status := client.wait(); status != 0 || client.stdout.String() != "hello\n" || client.stderr.String() != "" {
				t.Errorf("%s %s: exit status %d, %q, %q", transport, policy, status, client.stdout, client.stderr)
			}
			tr.cancel()
			if status := tr.wait(); status != 0 {
				t.Errorf("%s %s: exit status %d", transport, policy, status)
			}
		}
	}
}

// Several listeners in one process, each with its own policy.
func TestServeSeveralListeners(t *testing.T) {
	t.Parallel()
	tr := serveJSON(t, "--listen", "127.0.0.1:0", "--timeout", "7s",
		"--listener", "quic://127.0.0.1:0?policy=fixed&timeout=9s",
		"--listener", "yamux://127.0.0.1:0?timeout=8s&tls&codec=frame&max-age=1h")
	for transport, policy := range map[string]string{"tcp": "sliding 7s", "quic": "fixed 9s", "yamux": "sliding 8s, max-age 1h0m0s"} {
		if l := tr.event(1, line{"msg": "listening", "transport": transport}); l.text("policy") != policy || l.text("listener") != transport+"://"+l.text("addr") {
			t.Errorf("got %v", l)
		}
		client := newTrial(t)
		client.env = tr.env
		client.stdin = strings.NewReader(transport)
		args := []string{"dial", "--transport", transport}
		if transport == "yamux" {
			args = append(args, "--tls")
		}
		client.start(append(args, tr.addr(transport))...)
		if status := client.wait(); status != 0 || client.stdout.String() != transport {
			t.Errorf("%s: exit status %d, %q, %q", transport, status, client.stdout, client.stderr)
		}
		tr.event(1, line{"msg": "closed", "transport": transport, "policy": policy})
	}
}

// Each flag has a variable, and the flag takes precedence.
func TestServeVariables(t *testing.T) {
	t.Parallel()
	cmd, stderr := spawnWith(t, map[string]string{
		"LIVENET_LISTEN": "127.0.0.1:0", "LIVENET_POLICY": "fixed", "LIVENET_TIMEOUT": "nonsense", "LIVENET_TRANSPORT": "yamux",
		"LIVENET_TLS": "true", "LIVENET_LOG_FORMAT": "json", "LIVENET_MAX_AGE": "", "LIVENET_STREAM_POLICY": "", "LIVENET_NONSENSE": "",
		"LIVENET_LISTENER": "tcp://127.0.0.1:0?timeout=4s  quic://127.0.0.1:0?timeout=5s",
	}, "serve", "--timeout", "8s")
	policies := make(map[string]string)
	for range 3 {
		l := await(t, stderr, "listening")
		policies[l.text("transport")] = l.text("policy")
	}
	if want := map[string]string{"yamux": "fixed 8s", "tcp": "sliding 4s", "quic": "sliding 5s"}; !maps.Equal(policies, want) {
		t.Errorf("got %v, want %v", policies, want)
	}
	cmd.Process.Kill()
	cmd.Wait()
	for _, test := range []struct{ variable, value, want string }{
		{"LIVENET_TRANSPORT", "foo", `unknown transport "foo" in LIVENET_TRANSPORT: there are quic, tcp and yamux`},
		{"LIVENET_TIMEOUT", "-1s", "LIVENET_TIMEOUT -1s: out of range: from 20ms to 87600h (ten years)"},
		{"LIVENET_TLS", "x", `LIVENET_TLS "x": want true or false`},
		{"LIVENET_DRAIN", "x", `LIVENET_DRAIN "x": want a duration, such as 500ms, 4s or 1h30m`},
		{"LIVENET_LOG_FORMAT", "x", `unknown log format "x" in LIVENET_LOG_FORMAT: there are json and text`},
		{"LIVENET_LISTENER", "x", `LIVENET_LISTENER "x": want TRANSPORT://HOST:PORT?timeout=30s`},
		{"LIVENET_TIMEUOT", "4s", "unknown variable LIVENET_TIMEUOT: did you mean LIVENET_TIMEOUT?"},
		{"LIVENET_DIAL_PINS", "x", "unknown variable LIVENET_DIAL_PINS: did you mean LIVENET_DIAL_PIN?"},
	} {
		cmd, stderr := spawnWith(t, map[string]string{test.variable: test.value}, "serve", "--listen", "127.0.0.1:0")
		text := ""
		for stderr.Scan() {
			text += stderr.Text() + "\n"
		}
		if status := exitStatus(cmd.Wait()); status != statusUsage || text != "livenet serve: "+test.want+"\n" {
			t.Errorf("%s=%s: exit status %d, %s", test.variable, test.value, status, text)
		}
	}
}

// A JSON line has exactly these fields.
func TestServeJSON(t *testing.T) {
	t.Parallel()
	const (
		always  = "time level msg "
		subject = always + "id kind listener transport local remote policy "
		ending  = "reason initiator age_ms silent_ms late_ms beats bytes_in bytes_out "
	)
	tr := serveJSON(t, "--listener", "tcp://127.0.0.1:0?timeout=4s", "--listener", "quic://127.0.0.1:0?timeout=4s&stream-policy=sliding&stream-timeout=3s")
	if got := say(t, tr.addr("tcp"), "hello"); got != "hello" {
		t.Errorf("it echoes %q", got)
	}
	client := newTrial(t)
	client.env = tr.env
	client.stdin = strings.NewReader("hello")
	client.start("dial", "--transport", "quic", tr.addr("quic"))
	client.wait()
	tr.event(1, line{"msg": "closed", "transport": "tcp"})
	tr.event(1, line{"msg": "closed", "transport": "quic", "kind": "stream", "policy": "sliding 3s"})
	tr.event(1, line{"msg": "closed", "transport": "quic", "kind": "session"})
	tr.cancel()
	if status := tr.wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	counts := make(map[string]int)
	for _, l := range lines(t, tr.stderr.String()) {
		var want string
		switch l.text("msg") {
		case "certificate":
			want = always + "folder pin made"
		case "listening":
			want = always + "listener transport addr policy"
		case "opened":
			want = subject
		case "closed":
			want = subject + ending
			if _, known := l["rtt_us"]; known {
				want += "rtt_us "
			}
		case "draining":
			want = always + "listener transport"
		case "stopped":
			want = always + "sessions of"
		}
		if l.text("kind") == "stream" {
			want += " session"
		}
		counts[l.text("msg")]++
		fields := strings.Fields(want)
		slices.Sort(fields)
		if keys := slices.Sorted(maps.Keys(l)); !slices.Equal(keys, fields) {
			t.Errorf("%s:\n got %v\nwant %v", l.text("msg"), keys, fields)
		}
	}
	if want := map[string]int{"certificate": 1, "listening": 2, "opened": 3, "closed": 3, "draining": 2, "stopped": 1}; !maps.Equal(counts, want) {
		t.Errorf("got %v, want %v", counts, want)
	}
	closed := tr.event(1, line{"msg": "closed", "transport": "tcp"})
	if closed.text("reason") != "peer-closed" || closed.number("bytes_in") != 5 || closed.number("bytes_out") != 5 || closed.text("initiator") != "peer" {
		t.Errorf("got %v", closed)
	}
}

// Rule 9: whatever the timeout, the lower layers' timeouts are longer; otherwise the server
// would refuse the listener.
func TestRule9ServesLowerLayersHaveLongerTimeouts(t *testing.T) {
	t.Parallel()
	for _, timeout := range []string{"20ms", "4s", "30s", "1h", "87600h"} {
		for _, policy := range []string{"sliding", "fixed"} {
			tr := newTrial(t)
			args := []string{"serve", "--log-format", "json"}
			for _, transport := range []string{"quic", "tcp", "yamux"} {
				args = append(args, "--listener", transport+"://127.0.0.1:0?policy="+policy+"&timeout="+timeout)
			}
			tr.start(args...)
			tr.event(3, line{"msg": "listening"})
			tr.cancel()
			if status := tr.wait(); status != 0 {
				t.Errorf("%s %s: exit status %d: %s", policy, timeout, status, tr.stderr)
			}
		}
	}
}

// With --stream-policy each stream has a deadline of its own.
func TestServeStreamPolicy(t *testing.T) {
	t.Parallel()
	tr := serveJSON(t, "--transport", "quic", "--listen", "127.0.0.1:0", "--timeout", "20s", "--stream-policy", "fixed", "--stream-timeout", "300ms")
	client := newTrial(t)
	client.env = tr.env
	stdin, w := io.Pipe()
	defer w.Close()
	client.stdin = stdin
	client.start("dial", "--transport", "quic", tr.addr("quic"))
	if status := client.wait(); status != statusDeadline {
		t.Errorf("exit status %d: %s", status, client.stderr)
	}
	if l := tr.event(1, line{"msg": "closed", "kind": "stream"}); l.text("reason") != "fixed-deadline" || l.number("age_ms") < 300 {
		t.Errorf("got %v", l)
	}
}

func TestServeTextLog(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	tr.start("serve", "--listen", "127.0.0.1:0", "--timeout", "50ms")
	var addr string
	tr.stderr.await(t, func(text string) bool {
		m := regexp.MustCompile(` listening  tcp    (127\.0\.0\.1:\d+) +sliding 50ms\n`).FindStringSubmatch(text)
		if m != nil {
			addr = m[1]
		}
		return m != nil
	})
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	tr.stderr.await(t, regexp.MustCompile(` closed     tcp    127\.0\.0\.1:\d+ +#\d+ silent after \S+.*, 0 B in, 0 B out\n`).MatchString)
}

func TestServeHandlers(t *testing.T) {
	t.Parallel()
	tr := serveJSON(t, "--listener", "tcp://127.0.0.1:0?timeout=4s&handler=log", "--listener", "yamux://127.0.0.1:0?timeout=4s&handler=discard")
	if got := say(t, tr.addr("tcp"), "one\ntwo\x1b[31m\x00"); got != "" {
		t.Errorf("log answers %q", got)
	}
	id := tr.event(1, line{"msg": "closed", "transport": "tcp"}).number("id")
	tr.stdout.await(t, func(text string) bool { return strings.HasSuffix(text, "\n") })
	want := regexp.MustCompile(fmt.Sprintf(`^#%d 127\.0\.0\.1:\d+ "one\\ntwo\\x1b\[31m\\x00"\n$`, id))
	if got := tr.stdout.String(); !want.MatchString(got) {
		t.Errorf("log writes %q", got)
	}
	client := newTrial(t)
	client.stdin = strings.NewReader("hello")
	client.start("dial", "--transport", "yamux", tr.addr("yamux"))
	if status := client.wait(); status != 0 || client.stdout.String() != "" {
		t.Errorf("discard: exit status %d, %q, %q", status, client.stdout, client.stderr)
	}
}

// What no event tells is in the same log.
func TestServeLogsFailures(t *testing.T) {
	t.Parallel()
	tr, err := stack.New("tcp", nil, stack.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := tr.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	log := eventlog.New(&text, eventlog.Options{})
	s := (&bound{Listener: l, settings: &settings.Listener{Transport: "tcp", Codec: "auto", Handler: "echo", Timeout: time.Minute}}).server(serveOptions{}, nil, log)
	served := make(chan error, 1)
	s.Data = nil
	s.Handler = func(_ context.Context, c *liveness.Conn) {
		c.Close()
		panic("too late")
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { served <- s.Serve(ctx, l) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.Copy(io.Discard, conn)
	cancel()
	<-served
	log.Close(t.Context())
	want := " failure    tcp    " + l.Addr().String()
	if !strings.Contains(text.String(), want) || !strings.Contains(text.String(), "(a handler failed: the handler panicked: too late") {
		t.Errorf("no line %q:\n%s", want, text.String())
	}
}

// What log prints leads to the lines of the session and of the stream.
func TestServeLogNumbers(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"quic", "yamux"} {
		tr := serveJSON(t, "--transport", transport, "--listen", "127.0.0.1:0", "--handler", "log", "--log-level", "debug")
		for i := range 2 {
			client := newTrial(t)
			client.env = tr.env
			client.stdin = strings.NewReader("hello")
			client.start("dial", "--transport", transport, tr.addr(transport))
			if status := client.wait(); status != 0 {
				t.Fatalf("exit status %d: %s", status, client.stderr)
			}
			l := tr.event(i+1, line{"msg": "opened", "kind": "stream"})
			want := fmt.Sprintf("#%d.%d ", l.number("session"), l.number("id"))
			tr.stdout.await(t, func(text string) bool { return strings.Contains(text, want) })
		}
	}
}

// Rule 12: after the first signal serve asks its peers to finish, waits for them, and ends with
// status 0.
func TestRule12ServeDrains(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"tcp", "quic", "yamux"} {
		tr := serveJSON(t, "--transport", transport, "--listen", "127.0.0.1:0")
		client := newTrial(t)
		client.env = tr.env
		stdin, w := io.Pipe()
		client.stdin = stdin
		client.start("dial", "--transport", transport, tr.addr(transport))
		io.WriteString(w, "hello")
		client.stdout.await(t, func(text string) bool { return text == "hello" })
		tr.cancel()
		if status := client.wait(); status != statusSentAway {
			t.Errorf("%s: dial ends with %d", transport, status)
		}
		if text := client.stderr.String(); !strings.HasPrefix(text, "closed by server: draining after ") {
			t.Errorf("%s: dial says %q", transport, text)
		}
		if status := tr.wait(); status != 0 {
			t.Errorf("%s: exit status %d", transport, status)
		}
		if l := tr.event(1, line{"msg": "closed", "kind": "session"}); l.text("reason") != "done" { // the client has left by itself
			t.Errorf("%s: %v", transport, l)
		}
		tr.event(1, line{"msg": "draining"})
		w.Close()
	}
}

// The second signal ends serve without waiting for peers.
func TestServeEndsAtOnce(t *testing.T) {
	t.Parallel()
	tr := serveJSON(t, "--listen", "127.0.0.1:0", "--timeout", "1h", "--drain", "1h")
	conn, err := net.Dial("tcp", tr.addr("tcp"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	tr.event(1, line{"msg": "opened"})
	beHeard(t, conn) // who has never said a word is not waited for
	tr.cancel()
	tr.event(1, line{"msg": "draining"})
	close(tr.hurry)
	if status := tr.wait(); status != statusHurried {
		t.Errorf("exit status %d, want %d", status, statusHurried)
	}
	if l := tr.event(1, line{"msg": "closed"}); l.text("reason") != "draining" {
		t.Errorf("got %v", l)
	}
}

// Invalid input ends its own connection, and no other.
func TestServeGarbage(t *testing.T) {
	t.Parallel()
	tr := serveJSON(t, "--listen", "127.0.0.1:0", "--codec", "frame")
	good := newTrial(t)
	stdin, w := io.Pipe()
	good.stdin = stdin
	good.start("dial", tr.addr("tcp"))
	io.WriteString(w, "before ")
	good.stdout.await(t, func(text string) bool { return text == "before " })

	conn, err := net.Dial("tcp", tr.addr("tcp"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n")
	if l := tr.event(1, line{"msg": "closed"}); l.text("reason") != "protocol-error" || l.text("error") == "" {
		t.Errorf("got %v", l)
	}
	io.WriteString(w, "after")
	w.Close()
	if status := good.wait(); status != 0 || good.stdout.String() != "before after" {
		t.Errorf("the other: exit status %d, %q, %q", status, good.stdout, good.stderr)
	}
}

// The development certificate is made once, is readable by this user only, and is logged.
func TestServeDevelopmentCertificate(t *testing.T) {
	t.Parallel()
	first := serveJSON(t, "--transport", "quic", "--listen", "127.0.0.1:0")
	made := first.event(1, line{"msg": "certificate"})
	second := newTrial(t)
	second.env = first.env
	second.start("serve", "--log-format", "json", "--tls", "--listen", "127.0.0.1:0")
	found := second.event(1, line{"msg": "certificate"})
	if made["made"] != true || found["made"] != false || made.text("pin") != found.text("pin") || made.text("folder") != first.env["LIVENET_DATA_DIR"] {
		t.Errorf("first %v, then %v", made, found)
	}
	err := filepath.WalkDir(made.text("folder"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/' {
			t.Errorf("%s: %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	// Without TLS no certificate is made or logged.
	plain := serveJSON(t, "--listen", "127.0.0.1:0")
	plain.addr("tcp")
	if strings.Contains(plain.stderr.String(), "certificate") {
		t.Errorf("plain TCP: %s", plain.stderr)
	}
	if entries, _ := os.ReadDir(plain.env["LIVENET_DATA_DIR"]); len(entries) > 0 {
		t.Errorf("plain TCP made %v", entries)
	}
}

// Serve renews its certificate while it runs, and dial still trusts it.
func TestServeRenewsItsCertificate(t *testing.T) {
	tr := newTrial(t)
	synctest.Test(t, func(t *testing.T) {
		p := tr.process()
		conf, identity, err := serverTLS(p, &settings.Listener{TLS: true})
		if err != nil {
			t.Fatal(err)
		}
		dialling := trust{tls: true}
		client, err := dialling.config(p, "127.0.0.1:7373")
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(10 * 24 * time.Hour)
			shown, err := conf.GetCertificate(nil)
			if err != nil || time.Until(shown.Leaf.NotAfter) < 24*time.Hour || devtls.PinOf(shown.Leaf) != identity.Pin() {
				t.Errorf("it shows %v, %v", shown.Leaf.NotAfter, err)
			}
			if err := client.VerifyConnection(tls.ConnectionState{PeerCertificates: []*x509.Certificate{shown.Leaf}}); err != nil {
				t.Error(err)
			}
		}
	})
}

// The connections of a Handler are not parked.
func TestHandlerWithoutParking(t *testing.T) {
	for _, test := range []struct {
		h    handler
		want bool
	}{
		{handler{data: echo}, stack.Parks("tcp")},
		{handler{conn: func(context.Context, *printer, *liveness.Conn) {}}, false},
	} {
		if got := limits(&settings.Listener{Transport: "tcp", IO: settings.IOAuto}, test.h); got.Parked != test.want {
			t.Errorf("parked: %v, want %v", got.Parked, test.want)
		}
	}
}

func TestServeDamagedCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "key.pem")
	if err := os.WriteFile(file, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, _, stderr := try(t, map[string]string{"LIVENET_DATA_DIR": dir}, "serve", "--transport", "quic", "--listen", "127.0.0.1:0")
	if status != statusFailed || !strings.HasPrefix(stderr, "livenet serve: "+file+" is damaged") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("exit status %d: %s", status, stderr)
	}
}

// When one listener fails, serve ends with its error.
func TestServeListenerBreaks(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	p := tr.process()
	l, err := settings.ParseURL("tcp://127.0.0.1:0?timeout=4s", handlerNames())
	if err != nil {
		t.Fatal(err)
	}
	list, err := listen(t.Context(), p, []*settings.Listener{l, l})
	if err != nil {
		t.Fatal(err)
	}
	list[0].Close()
	log := newEventLog(p, serveOptions{logFormat: "text", logLevel: "info"})
	defer closeLog(p, log)
	if err := serveAll(context.Background(), p, serveOptions{}, list, log); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// beHeard sends a byte and waits for its echo.
func beHeard(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}
