package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// spawn runs livenet as a process.
func spawn(t *testing.T, args ...string) (cmd *exec.Cmd, stderr *bufio.Scanner) {
	t.Helper()
	return spawnWith(t, nil, args...)
}

// spawnWith is spawn with these environment variables.
func spawnWith(t *testing.T, env map[string]string, args ...string) (cmd *exec.Cmd, stderr *bufio.Scanner) {
	t.Helper()
	return start(t, nil, env, args...)
}

func start(t *testing.T, stdin io.Reader, env map[string]string, args ...string) (cmd *exec.Cmd, stderr *bufio.Scanner) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), asMain+"=1", "LIVENET_DATA_DIR="+t.TempDir())
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Stdin = stdin
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(pipe)
}

// spawnStdin is spawnWith, with a stdin that does not end.
func spawnStdin(t *testing.T, env map[string]string, args ...string) (cmd *exec.Cmd, stderr *bufio.Scanner) {
	t.Helper()
	stdin, typed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); typed.Close() })
	return start(t, stdin, env, args...)
}

// await reads JSON lines up to one of that message.
func await(t *testing.T, s *bufio.Scanner, msg string) line {
	t.Helper()
	for s.Scan() {
		var l line
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			t.Fatalf("%s: %v", s.Text(), err)
		}
		if l.text("msg") == msg {
			return l
		}
	}
	t.Fatalf("no %s", msg)
	return nil
}

func exitStatus(err error) int {
	if e, ok := err.(*exec.ExitError); ok {
		return e.ExitCode()
	}
	if err != nil {
		return -1
	}
	return 0
}

// The first signal drains, and the status is 0; the second ends at once.
func TestSignals(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("windows has no signals to send")
	}
	t.Parallel()
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Interrupt, syscall.SIGHUP} {
		cmd, stderr := spawn(t, "serve", "--listen", "127.0.0.1:0", "--log-format", "json")
		await(t, stderr, "listening")
		// A signal to the process and then to its group counts once.
		cmd.Process.Signal(signal)
		cmd.Process.Signal(signal)
		await(t, stderr, "draining")
		if status := exitStatus(cmd.Wait()); status != 0 {
			t.Errorf("after one %v: exit status %d", signal, status)
		}

		cmd, stderr = spawn(t, "serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--timeout", "1h", "--drain", "1h")
		conn, err := net.Dial("tcp", await(t, stderr, "listening").text("addr"))
		if err != nil {
			t.Fatal(err)
		}
		await(t, stderr, "opened")
		// A drain does not wait for a client that has sent nothing.
		beHeard(t, conn)
		cmd.Process.Signal(signal)
		await(t, stderr, "draining")
		time.Sleep(2 * repeats)
		cmd.Process.Signal(signal)
		if l := await(t, stderr, "closed"); l.text("reason") != "draining" {
			t.Errorf("got %v", l)
		}
		if status := exitStatus(cmd.Wait()); status != statusHurried {
			t.Errorf("after two %v: exit status %d, want %d", signal, status, statusHurried)
		}
		conn.Close()
	}
}

// A dial whose terminal goes away closes the connection in order.
func TestHangUpEndsDial(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("windows has no signals to send")
	}
	t.Parallel()
	server := serveJSON(t, "--transport", "quic", "--listen", "127.0.0.1:0", "--timeout", "1h")
	cmd, stderr := spawnStdin(t, server.env, "dial", "-v", "--transport", "quic", server.addr("quic"))
	stderr.Scan() // the line that it is connected
	cmd.Process.Signal(syscall.SIGHUP)
	if status := exitStatus(cmd.Wait()); status != 0 {
		t.Errorf("exit status %d", status)
	}
	server.event(1, line{"msg": "closed", "reason": "done"})
}

// Clients of a killed server notice when it starts again, long before any deadline: over every
// transport, also with a reset key in a file.
func TestRestartIsNoticed(t *testing.T) {
	t.Parallel()
	files := certificateFiles(t)
	own := fmt.Sprintf("&tls-cert=%s&tls-key=%s&reset-key=%s", files.cert, files.key, filepath.Join(t.TempDir(), "reset.key"))
	for transport, more := range map[string]string{"tcp": "", "yamux": "", "quic": "", "quic ": own} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			transport := strings.TrimSpace(transport)
			env := map[string]string{"LIVENET_DATA_DIR": t.TempDir()}
			serve := func(addr string) (*exec.Cmd, string) {
				cmd, stderr := spawnWith(t, env, "serve", "--log-format", "json", "--listener", transport+"://"+addr+"?timeout=1h"+more)
				return cmd, await(t, stderr, "listening").text("addr")
			}
			killed, addr := serve("127.0.0.1:0")
			killed.Process.Kill() // not port 0, whose key would differ
			killed.Wait()
			killed, _ = serve(addr)
			tr := newTrial(t)
			tr.env["LIVENET_DATA_DIR"] = env["LIVENET_DATA_DIR"]
			stdin, typed := io.Pipe()
			tr.stdin = stdin
			tr.start("dial", "--transport", transport, "--beat", "100ms", "--timeout", "1h", "--insecure="+fmt.Sprint(transport == "quic"), addr)
			io.WriteString(typed, "x")
			tr.stdout.await(t, func(text string) bool { return text == "x" })
			killed.Process.Kill()
			killed.Wait()
			restarted, _ := serve(addr)
			defer restarted.Wait()
			defer restarted.Process.Kill()
			if status := tr.wait(); status != statusLost {
				t.Errorf("exit status %d: %s", status, tr.stderr)
			}
		})
	}
}

func TestExitStatusOfTheProcess(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]int{
		"":                              0,
		"--help":                        0,
		"--version":                     0,
		"serve --help":                  0,
		"serve --transport foo":         statusUsage,
		"srve":                          statusUsage,
		"help srve":                     statusUsage,
		"--vers":                        statusUsage,
		"serve --listen host.invalid:1": statusFailed,
	} {
		cmd, stderr := spawn(t, strings.Fields(args)...)
		lines := 0
		for stderr.Scan() {
			lines++
		}
		status := exitStatus(cmd.Wait())
		if status != want || (lines == 1) != (want != 0) || lines > 1 {
			t.Errorf("livenet %s: exit status %d, want %d; %d lines on stderr", args, status, want, lines)
		}
	}
}

// tool returns the path of another program, or skips the test.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return path
}

// converse sends a line through a client to an echo server and waits for the echo, and then
// for the client's end.
func converse(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	defer in.Close()
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer time.AfterFunc(soon, func() { cmd.Process.Kill() }).Stop()
	if _, err := io.WriteString(in, "hello\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	if got, err := r.ReadString('\n'); got != "hello\n" {
		t.Fatalf("it gets %q, %v; it says %s", got, err, said.String())
	}
	if rest, err := io.ReadAll(r); len(rest) > 0 || err != nil {
		t.Errorf("and then %q, %v", rest, err)
	}
}

// netcat gets its echo, and is closed for its silence.
func TestNetcat(t *testing.T) {
	t.Parallel()
	nc := tool(t, "nc")
	tr := serveJSON(t, "--listen", "127.0.0.1:0", "--timeout", "500ms")
	host, port, _ := net.SplitHostPort(tr.addr("tcp"))
	converse(t, exec.CommandContext(t.Context(), nc, host, port))
	if l := tr.event(1, line{"msg": "closed"}); l.text("reason") != "silent" || l.number("silent_ms") < 500 || l.number("bytes_in") != 6 {
		t.Errorf("got %v", l)
	}
}

// So does openssl, which verifies the development certificate with -CAfile.
func TestOpenSSL(t *testing.T) {
	t.Parallel()
	openssl := tool(t, "openssl")
	tr := serveJSON(t, "--listen", "127.0.0.1:0", "--tls", "--policy", "fixed", "--timeout", "1s")
	ca := tr.event(1, line{"msg": "certificate"}).text("folder") + "/cert.pem"
	converse(t, exec.CommandContext(t.Context(), openssl, "s_client", "-quiet", "-connect", tr.addr("tcp"),
		"-CAfile", ca, "-verify_return_error", "-verify_hostname", "localhost"))
	if l := tr.event(1, line{"msg": "closed"}); l.text("reason") != "fixed-deadline" || l.number("age_ms") < 1000 || l.number("bytes_in") != 6 {
		t.Errorf("got %v", l)
	}
}

// Behind HAProxy, its clients' bytes count, and its health checks, which send nothing, disturb
// no session.
func TestHAProxy(t *testing.T) {
	t.Parallel()
	haproxy := tool(t, "haproxy")
	tr := serveJSON(t, "--listen", "127.0.0.1:0", "--timeout", "1s")
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := front.Addr().String()
	front.Close()
	conf := filepath.Join(t.TempDir(), "haproxy.cfg")
	text := fmt.Sprintf(`defaults
  mode tcp
  timeout connect 5s
  timeout client 1m
  timeout server 1m
listen livenet
  bind %s
  server a %s check inter 100ms
`, addr, tr.addr("tcp"))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), haproxy, "-db", "-f", conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()

	var conn net.Conn
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if conn, err = net.Dial("tcp", addr); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	for range 3 {
		beHeard(t, conn)
		time.Sleep(200 * time.Millisecond)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the client behind HAProxy reads %v", err)
	}
	if l := tr.event(1, line{"msg": "closed", "reason": "silent"}); l.number("bytes_in") != 3 || l.number("silent_ms") < 1000 {
		t.Errorf("got %v", l)
	}
}
