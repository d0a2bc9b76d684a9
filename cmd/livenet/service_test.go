//go:build unix

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// This file starts the services that the gateway's tests forward to, and the client's
// end of tunnels to it.

// need returns the path of a program, or skips the test.
func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/usr/lib/postgresql/*/bin"} { // not in everybody's PATH
			if found, _ := filepath.Glob(filepath.Join(dir, program)); len(found) > 0 {
				return found[len(found)-1]
			}
		}
		t.Skipf("%s is not installed", program)
	}
	return path
}

// freePort is one that nobody had a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	// Below the ports that the system gives to other tests' sockets meanwhile.
	const first, last = 15_000, 32_000
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(last-first))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		l.Close()
		u, err := net.ListenPacket("udp", addr)
		if err != nil {
			continue
		}
		u.Close()
		_, port, _ := net.SplitHostPort(addr)
		return port
	}
	t.Fatal("no port is free")
	return ""
}

// start starts a service, waits until it says ready, and ends it with the test.
func startService(t *testing.T, cmd *exec.Cmd, ready string) {
	t.Helper()
	out := newCapture()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cmd.Wait()
		out.end()
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGINT)
		<-ended
	})
	out.await(t, func(text string) bool { return strings.Contains(text, ready) })
}

// startRedis returns where a Redis of the test's own listens.
func startRedis(t *testing.T) (addr string) {
	t.Helper()
	port := freePort(t)
	startService(t, exec.Command(need(t, "redis-server"), "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir()), "eady to accept connections")
	return "127.0.0.1:" + port
}

// startNginx serves the files in root, and on a second port tells whom a PROXY header
// names.
func startNginx(t *testing.T, root string) (files, proxied string) {
	t.Helper()
	program, dir := need(t, "nginx"), t.TempDir()
	files, proxied = "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t)
	conf := fmt.Sprintf(`
daemon off; master_process off; pid %[1]s/pid; error_log stderr notice;
events { worker_connections 256; }
http {
	access_log off; client_max_body_size 0;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	server { listen %[2]s; root %[4]s; }
	server { listen %[3]s proxy_protocol; location / { return 200 "$proxy_protocol_addr:$proxy_protocol_port\n"; } }
}`, dir, files, proxied, root)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	startService(t, exec.Command(program, "-p", dir, "-c", file, "-e", "stderr"), "using the ") // it listens by then
	return files, proxied
}

// startPostgres returns the port of a PostgreSQL of the test's own. Root may not run one.
func startPostgres(t *testing.T) (port string) {
	t.Helper()
	server := need(t, "postgres")
	if target, err := filepath.EvalSymlinks(server); err == nil {
		server = target
	}
	initdb := filepath.Join(filepath.Dir(server), "initdb")
	dir, err := os.MkdirTemp("", "livenet-postgres")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	as := new(syscall.SysProcAttr)
	if os.Getuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			t.Skip("root may not run PostgreSQL, and there is no user postgres")
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	prepare := exec.Command(initdb, "-D", dir, "-U", "postgres", "-A", "trust", "--no-sync")
	prepare.SysProcAttr, prepare.Dir = as, "/"
	if out, err := prepare.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	port = freePort(t)
	cmd := exec.Command(server, "-D", dir, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="+dir, "-c", "fsync=off")
	cmd.SysProcAttr, cmd.Dir = as, "/"
	startService(t, cmd, "ready to accept connections")
	return port
}

// startSSHD returns the port of an sshd of the test's own, for which bin gets an ssh that
// may log in; or nothing, where there is none. In a session that is idle it doesn't speak.
func startSSHD(t *testing.T, bin string) (port string) {
	t.Helper()
	const server = "/usr/sbin/sshd"
	client, err := exec.LookPath("ssh")
	if _, missing := os.Stat(server); err != nil || missing != nil {
		return ""
	}
	dir := t.TempDir()
	for _, key := range []string{"host", "user"} {
		outputOf(t, need(t, "ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key))
	}
	if os.Getuid() == 0 {
		os.MkdirAll("/run/sshd", 0o755) // where it wants to be locked up before a login
	}
	port = freePort(t)
	startService(t, exec.Command(server, "-D", "-e", "-f", "/dev/null", "-p", port, "-h", dir+"/host", "-o", "ListenAddress=127.0.0.1",
		"-o", "PidFile=none", "-o", "StrictModes=no", "-o", "AuthorizedKeysFile="+dir+"/user.pub", "-o", "Subsystem=sftp internal-sftp"), "Server listening on ")
	script := fmt.Sprintf("#!/bin/sh\nexec %q -F none -i %q -o BatchMode=yes -o LogLevel=ERROR -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \"$@\"\n", client, dir+"/user")
	if err := os.WriteFile(filepath.Join(bin, "ssh"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return port
}

// A way is how clients come to a gateway.
type way struct {
	name, transport string
	tls             bool
}

var ways = []way{{"tcp", "tcp", false}, {"tls", "tcp", true}, {"yamux", "yamux", false}, {"quic", "quic", true}}

// gateway starts serve in front of a service, and returns where plain clients reach it:
// directly, or through the client's end of a tunnel.
func (w way) gateway(t *testing.T, upstream string, args ...string) (tr *trial, addr string) {
	t.Helper()
	args = append([]string{"--transport", w.transport, "--listen", "127.0.0.1:0", "--forward", upstream}, args...)
	if w.tls {
		args = append(args, "--tls")
	}
	tr = serveJSON(t, args...)
	addr = tr.addr(w.transport)
	if w.name == "tcp" {
		return tr, addr
	}
	return tr, w.tunnel(t, addr)
}

// tunnel starts the client's end of a tunnel to addr, and returns where it listens.
func (w way) tunnel(t *testing.T, addr string, args ...string) string {
	t.Helper()
	_, local := w.startTunnel(t, addr, append([]string{"--listen", "127.0.0.1:0"}, args...)...)
	return local
}

// startTunnel returns a tunnel to addr, and where it listens first, if it does.
func (w way) startTunnel(t *testing.T, addr string, args ...string) (tr *trial, local string) {
	t.Helper()
	args = append([]string{"tunnel", "--server", w.transport + "://" + addr}, args...)
	if w.tls {
		args = append(args, "--tls", "--insecure")
	}
	tr = newTrial(t)
	tr.start(args...)
	if !slices.Contains(args, "--listen") {
		return tr, ""
	}
	tr.stderr.await(t, func(text string) bool {
		m := regexp.MustCompile(`(?m)^livenet tunnel: listening on (\S+).*\n`).FindStringSubmatch(text)
		if m != nil {
			local = m[1]
		}
		return m != nil
	})
	return tr, local
}

// everyWay runs test for each way to a gateway, at once.
func everyWay(t *testing.T, test func(t *testing.T, w way)) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			test(t, w)
		})
	}
}

// outputOf runs a client to its end, and returns what it writes.
func outputOf(t *testing.T, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*soon)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}
