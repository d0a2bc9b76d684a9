//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startEcho starts a service that sends back what it receives.
func startEcho(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); io.Copy(c, c) }()
		}
	}()
	return l.Addr().String()
}

// spawnGateway starts serve as a process of its own, and returns when it listens.
func (w way) spawnGateway(t *testing.T, env map[string]string, addr string, args ...string) *exec.Cmd {
	t.Helper()
	args = append([]string{"serve", "--log-format", "json", "--transport", w.transport, "--listen", addr}, args...)
	if w.tls {
		args = append(args, "--tls")
	}
	cmd, stderr := spawnWith(t, env, args...)
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	await(t, stderr, "listening")
	go func() {
		for stderr.Scan() {
		}
	}()
	return cmd
}

// A server is killed and restarted: open connections get an error and don't hang, new ones
// wait, and the tunnel recovers by itself.
func TestTunnelOutlivesItsServer(t *testing.T) {
	t.Parallel()
	service := startEcho(t)
	for _, w := range ways[1:] {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			addr := "127.0.0.1:" + freePort(t)
			env := map[string]string{"LIVENET_DATA_DIR": t.TempDir()} // the certificate and the stateless reset key
			args := []string{"--forward", service, "--timeout", "3s"}
			server := w.spawnGateway(t, env, addr, args...)
			tr, local := w.startTunnel(t, addr, "--listen", "127.0.0.1:0", "--wait", soon.String())
			for range 2 {
				c, err := net.Dial("tcp", local)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				c.SetDeadline(time.Now().Add(soon))
				io.WriteString(c, "hello")
				if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
					t.Fatal(err)
				}
				server.Process.Kill()
				server.Wait()
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					// The kernel of a killed process ends its TCP connections with FIN.
					if _, err := io.ReadAll(c); err == nil && w.name != "tls" || err != nil && strings.Contains(err.Error(), "timeout") {
						t.Errorf("the open connection: %v", err)
					}
				}()
				server = w.spawnGateway(t, env, addr, args...)
				// One from before the end is noticed is lost with the old session.
				for got := ""; got != "again"; {
					c, err := net.Dial("tcp", local)
					if err != nil {
						continue
					}
					c.SetDeadline(time.Now().Add(soon))
					io.WriteString(c, "again")
					b := make([]byte, 5)
					if n, err := io.ReadFull(c, b); err != nil && strings.Contains(err.Error(), "timeout") {
						t.Fatalf("got %q, %v\n%s", b[:n], err, tr.stderr)
					}
					got = string(b)
					c.Close()
				}
				<-ended
			}
		})
	}
}

// A stopped server is noticed within the timeout, and reported in one line.
func TestTunnelNoticesADeadServer(t *testing.T) {
	t.Parallel()
	service := startEcho(t)
	for _, w := range ways[2:] {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			env := map[string]string{"LIVENET_DATA_DIR": t.TempDir()}
			addr := "127.0.0.1:" + freePort(t)
			server := w.spawnGateway(t, env, addr, "--forward", service)
			tr, local := w.startTunnel(t, addr, "--listen", "127.0.0.1:0", "--timeout", "1s")
			say(t, local, "hello")
			c, err := net.Dial("tcp", local)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(soon))
			io.WriteString(c, "hello")
			io.ReadFull(c, make([]byte, 5))
			server.Process.Signal(syscall.SIGSTOP)
			if _, err := io.ReadAll(c); err == nil || strings.Contains(err.Error(), "timeout") {
				t.Errorf("the open connection: %v", err)
			}
			tr.stderr.await(t, func(text string) bool {
				_, rest, _ := strings.Cut(text, "beat every")
				return strings.Contains(rest, "\nlivenet tunnel: closed: silent for 1") && strings.Contains(rest, ": connecting again in ")
			})
		})
	}
}

// SIGHUP ends the wait before the next attempt, and not the tunnel.
func TestTunnelRetriesNow(t *testing.T) {
	t.Parallel()
	cmd, stderr := spawn(t, "tunnel", "--server", "yamux://127.0.0.1:"+freePort(t), "--listen", "127.0.0.1:0")
	const attempts = 12 // which take minutes otherwise
	deadline := time.AfterFunc(soon, func() { cmd.Process.Kill() })
	defer deadline.Stop()
	for n := 0; n < attempts; {
		if !stderr.Scan() {
			t.Fatal("it does not retry")
		}
		if strings.Contains(stderr.Text(), "can't connect: connection refused: no server listens there: connecting again in ") {
			n++
			cmd.Process.Signal(syscall.SIGHUP)
		}
	}
	cmd.Process.Signal(syscall.SIGTERM)
	for stderr.Scan() {
	}
	if status := exitStatus(cmd.Wait()); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

func TestTunnelUsage(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	_, port, _ := net.SplitHostPort(busy.Addr().String())
	const at = "--server quic://127.0.0.1:1 "
	for args, want := range map[string]string{
		"":                                           "2 want a server: add --server quic://gw.example:7373, for instance",
		at:                                           "2 nothing to forward: add --listen 127.0.0.1:6379 or --publish ssh=127.0.0.1:22, for instance",
		at + "--publish 127.0.0.1:22":                `2 --publish "127.0.0.1:22": want NAME=ADDR, such as ssh=127.0.0.1:22`,
		at + "--publish a=b:1 --publish a=b:2":       `2 --publish "a=b:2": the name is given twice`,
		at + "--listen a:1 --id x":                   "2 --id has no effect: add --publish",
		"--server tcp://a --publish a=b:1":           "2 --publish needs a session with several streams: take quic or yamux",
		at + "--listen x":                            `2 --listen "x": want HOST:PORT or unix:PATH`,
		at + "--listen a:1=b/c":                      `2 --listen "a:1=b/c": a service's name has letters, digits, and . _ or - in between, 256 at most`,
		at + "--listen a:1 --listen a:1":             `2 --listen "a:1": it is given twice`,
		at + "--listen a:1 --wait 1ms":               "2 --wait 1ms: out of range: from 20ms to 87600h (ten years)",
		at + "--listen a:1 --tls=false":              "2 --tls can't be false: quic always has TLS",
		at + "--listen a:1 b":                        `2 unexpected argument "b": see livenet tunnel --help`,
		"--server foo://a --listen a:1":              `2 --server "foo://a": unknown transport: there are quic, tcp and yamux`,
		"--server a:1 --listen a:1":                  `2 --server "a:1": want TRANSPORT://HOST:PORT, such as quic://gw.example:7373`,
		"--server tcp://a:b --listen a:1":            `2 --server "tcp://a:b": want TRANSPORT://HOST:PORT, such as quic://gw.example:7373`,
		"--server tcp://a --listen a:1 --timeout 1s": "2 --timeout 1s is too short: over tcp acks are the evidence: take at least 3s",
		at + "--listen 127.0.0.1:" + port:            fmt.Sprintf("1 can't listen on 127.0.0.1:%s: port %[1]s is in use: stop the process that uses it, or choose another port, or 0 for any free one", port),
	} {
		status, _, stderr := try(t, nil, append([]string{"tunnel"}, strings.Fields(args)...)...)
		if got := fmt.Sprintf("%d %s", status, strings.TrimPrefix(stderr, "livenet tunnel: ")); got != want+"\n" {
			t.Errorf("%s: got %s, want %s", args, got, want)
		}
	}
}

// Several services, each at an address of its own, one of them a Unix socket.
func TestTunnelServicesByName(t *testing.T) {
	t.Parallel()
	red, blue := startEcho(t), startEcho(t)
	for _, w := range ways {
		args := []string{"--transport", w.transport, "--listen", "127.0.0.1:0", "--forward", "red=" + red, "--forward", "blue=" + blue}
		if w.tls {
			args = append(args, "--tls")
		}
		server := serveJSON(t, args...)
		socket := t.TempDir() + "/blue"
		tr, local := w.startTunnel(t, server.addr(w.transport), "--listen", "127.0.0.1:0=red", "--listen", "unix:"+socket+"=blue", "--listen", "127.0.0.1:0=green")
		if got := say(t, local, "hello"); got != "hello" {
			t.Errorf("%s: got %q", w.name, got)
		}
		tr.stderr.await(t, func(text string) bool { return strings.Contains(text, "listening on "+socket+" to blue\n") })
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(soon))
		io.WriteString(c, "hello")
		if got := make([]byte, 5); func() error { _, err := io.ReadFull(c, got); return err }() != nil || string(got) != "hello" {
			t.Errorf("%s: got %q", w.name, got)
		}
		c.Close()
		if w.transport == "tcp" {
			continue // which can't carry the reason
		}
		var green string
		tr.stderr.await(t, func(text string) bool {
			_, green, _ = strings.Cut(text, "\nlivenet tunnel: listening on ")
			_, green, _ = strings.Cut(green, "\nlivenet tunnel: listening on ")
			green, _, _ = strings.Cut(green, " to green\n")
			return strings.Contains(text, " to green\n")
		})
		if c, err := net.Dial("tcp", green); err == nil {
			defer c.Close()
			io.WriteString(c, "hello")
			io.ReadAll(c)
		}
		tr.stderr.await(t, func(text string) bool { return strings.Contains(text, " to green ended: closed by peer: no-tunnel\n") })
	}
}

// The server forwards to a published service. A tunnel with the same id replaces the old one at
// once, which exits with a status of its own and a line.
func TestTunnelPublishes(t *testing.T) {
	t.Parallel()
	service := startEcho(t)
	for _, w := range ways[2:] {
		server := serveJSON(t, "--transport", w.transport, "--listen", "127.0.0.1:0", "--service", "echo=127.0.0.1:0", "--opening", "1s")
		public := server.addr("tcp")
		first, _ := w.startTunnel(t, server.addr(w.transport), "--publish", "echo="+service)
		server.event(1, line{"msg": "upstream-up"})
		if got := say(t, public, "hello"); got != "hello" {
			t.Errorf("%s: got %q", w.name, got)
		}
		second, _ := w.startTunnel(t, server.addr(w.transport), "--publish", "echo="+service)
		if status := first.wait(); status != statusSuperseded || !strings.Contains(first.stderr.String(), "\nlivenet tunnel: closed by server: superseded: a newer tunnel has the id ") {
			t.Errorf("%s: exit status %d: %s", w.name, status, first.stderr)
		}
		if got := say(t, public, "hello"); got != "hello" {
			t.Errorf("%s: got %q", w.name, got)
		}
		second.cancel()
		if status := second.wait(); status != 0 {
			t.Errorf("%s: exit status %d: %s", w.name, status, second.stderr)
		}
		server.event(1, line{"msg": "upstream-down", "error": "done"})
		c, err := net.Dial("tcp", public)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "hello")
		if _, err := io.ReadAll(c); err == nil {
			t.Errorf("%s: the end looks whole", w.name)
		}
		server.event(1, line{"msg": "closed", "kind": "session", "reason": "no-tunnel"})
		stranger, _ := w.startTunnel(t, server.addr(w.transport), "--publish", "ssh="+service)
		if status := stranger.wait(); status != statusSentAway || !strings.HasSuffix(stranger.stderr.String(), "no-tunnel: the server has no service ssh to publish\n") {
			t.Errorf("%s: exit status %d: %s", w.name, status, stranger.stderr)
		}
	}
}

// An ssh session to a published sshd survives several idle timeouts, and a large file arrives,
// over each transport.
func TestTunnelSSH(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	sshd := startSSHD(t, bin)
	if sshd == "" {
		t.Skip("sshd or ssh is not installed")
	}
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // 16 MB
	for _, w := range ways[2:] {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			server := serveJSON(t, "--transport", w.transport, "--listen", "127.0.0.1:0", "--service", "ssh=127.0.0.1:0", "--timeout", several.String())
			_, port, _ := net.SplitHostPort(server.addr("tcp"))
			w.startTunnel(t, server.addr(w.transport), "--publish", "ssh=127.0.0.1:"+sshd)
			if got := outputOf(t, bin+"/ssh", "-p", port, "127.0.0.1", fmt.Sprintf("sleep %d; echo hello", 3*several/time.Second)); got != "hello\n" {
				t.Errorf("got %q", got)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*soon)
			defer cancel()
			copying := exec.CommandContext(ctx, bin+"/ssh", "-p", port, "127.0.0.1", "cat")
			copying.Stdin = bytes.NewReader(content)
			if got, err := copying.Output(); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes come back, %v", len(got), err)
			}
		})
	}
}

// A service that is down when the tunnel starts is a warning.
func TestTunnelPublishesWhatIsDown(t *testing.T) {
	t.Parallel()
	nobody := "127.0.0.1:" + freePort(t)
	tr, _ := ways[2].startTunnel(t, nobody, "--publish", "echo="+nobody)
	tr.stderr.await(t, func(text string) bool {
		return strings.Contains(text, "livenet tunnel: echo can't be reached at "+nobody+": refused\n")
	})
}

// A tunnel without a valid token or certificate exits, with a status and a line.
func TestTunnelAuthorization(t *testing.T) {
	t.Parallel()
	service, dir := startEcho(t), t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	all, good, bad := write("all", "alice:secret\nbob:other\n", 0o600), write("good", "alice:secret\n", 0o600), write("bad", "alice:guess\n", 0o600)
	for _, transport := range []string{"quic", "yamux"} {
		w := way{transport, transport, true}
		server := serveJSON(t, "--transport", transport, "--tls", "--listen", "127.0.0.1:0", "--service", "echo=127.0.0.1:0", "--token-file", all)
		w.startTunnel(t, server.addr(transport), "--publish", "echo="+service, "--token-file", good, "--id", "x")
		if l := server.event(1, line{"msg": "upstream-up"}); l.text("upstream") != "echo of alice, x" {
			t.Errorf("%s: %v", transport, l)
		}
		if got := say(t, server.addr("tcp"), "hello"); got != "hello" {
			t.Errorf("%s: got %q", transport, got)
		}
		for _, args := range [][]string{{"--token-file", bad}, nil} {
			tr, _ := w.startTunnel(t, server.addr(transport), append([]string{"--publish", "echo=" + service, "--id", "x"}, args...)...)
			if status := tr.wait(); status != statusSentAway || !strings.Contains(tr.stderr.String(), "livenet tunnel: closed by peer: unauthorized") || strings.Count(tr.stderr.String(), "unauthorized") != 1 {
				t.Errorf("%s: %q: exit status %d: %s", transport, args, status, tr.stderr)
			}
		}

		files := certificateFiles(t)
		server = serveJSON(t, "--transport", transport, "--tls", "--listen", "127.0.0.1:0", "--service", "echo=127.0.0.1:0", "--client-ca", files.cert)
		w.startTunnel(t, server.addr(transport), "--publish", "echo="+service, "--id", "x", "--tls-cert", files.cert, "--tls-key", files.key)
		if l := server.event(1, line{"msg": "upstream-up"}); l.text("upstream") != "echo of livenet development, x" {
			t.Errorf("%s: %v", transport, l)
		}
		if got := say(t, server.addr("tcp"), "hello"); got != "hello" {
			t.Errorf("%s: got %q", transport, got)
		}
		tr, _ := w.startTunnel(t, server.addr(transport), "--publish", "echo="+service)
		tr.stderr.await(t, func(text string) bool {
			return strings.Contains(text, "the server refuses the TLS handshake: tls: certificate required")
		})
	}
	open := write("open", "alice:secret\n", 0o644)
	os.Chmod(open, 0o644)
	for args, want := range map[string]string{
		"tunnel --server quic://a --listen a:1 --token-file " + open:             "livenet tunnel: can't read the token: " + open + ": other users may read it: chmod 600\n",
		"tunnel --server quic://a --listen a:1 --token-file " + all:              "livenet tunnel: can't read the token: " + all + ": it holds more than one token\n",
		"tunnel --server yamux://a --listen a:1 --token-file " + good:            "livenet tunnel: --token-file needs TLS: add --tls, or --insecure-token to send tokens in plain text\n",
		"tunnel --server tcp://a --listen a:1 --tls --token-file " + good:        "livenet tunnel: --token-file: a session over tcp is one stream, without room for a token: use a certificate, --tls-cert\n",
		"tunnel --server quic://a --listen a:1 --insecure-token":                 "livenet tunnel: --insecure-token has no effect: add --token-file\n",
		"serve --transport quic --service echo=127.0.0.1:0 --token-file " + open: "livenet serve: can't read the tokens: " + open + ": other users may read it: chmod 600\n",
	} {
		if status, _, stderr := try(t, nil, strings.Fields(args)...); status != statusUsage || stderr != want {
			t.Errorf("%s: exit status %d: %s", args, status, stderr)
		}
	}
}
