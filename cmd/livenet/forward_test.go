//go:build unix

package main

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// several is a policy's timeout of which a test waits for several.
const several = 3 * time.Second

// A Redis behind the gateway does what it does without: under load, and for clients
// that wait for several timeouts.
func TestForwardRedis(t *testing.T) {
	t.Parallel()
	redis := startRedis(t)
	everyWay(t, func(t *testing.T, w way) {
		tr, addr := w.gateway(t, redis, "--timeout", several.String())
		_, port, _ := net.SplitHostPort(addr)
		t.Run("benchmark", func(t *testing.T) {
			t.Parallel()
			out := outputOf(t, need(t, "redis-benchmark"), "-p", port, "-n", "5000", "-c", "20", "-d", "5000", "-t", "set,get", "--csv")
			if strings.Count(out, "\n") < 2 || strings.Contains(out, "rror") {
				t.Errorf("it says\n%s", out)
			}
		})
		t.Run("BLPOP", func(t *testing.T) {
			t.Parallel()
			c := dialRedis(t, addr)
			began := time.Now()
			fmt.Fprintf(c, "BLPOP nothing-%s %d\r\n", w.name, 3*several/time.Second)
			if got := c.line(); got != "*-1" || time.Since(began) < 3*several {
				t.Errorf("got %q after %v", got, time.Since(began))
			}
		})
		t.Run("SUBSCRIBE", func(t *testing.T) {
			t.Parallel()
			c, pub := dialRedis(t, addr), dialRedis(t, addr)
			channel := "news-" + w.name
			fmt.Fprintf(c, "SUBSCRIBE %s\r\n", channel)
			for range 6 { // the array, and three elements of which two have a length
				c.line()
			}
			fmt.Fprintf(pub, "BLPOP no-more-%s %d\r\n", w.name, 3*several/time.Second) // which waits for several timeouts
			pub.line()
			fmt.Fprintf(pub, "PUBLISH %s hello\r\n", channel)
			if got := pub.line(); got != ":1" {
				t.Errorf("it went to %s subscribers", got)
			}
			for got := ""; got != "hello"; {
				got = c.line()
			}
		})
		t.Cleanup(func() {
			for _, l := range lines(t, tr.stderr.String()) {
				if l.text("msg") == "closed" && l.text("reason") == "silent" {
					t.Errorf("a living client was ended: %v", l)
				}
			}
		})
	})
}

// A redisConn speaks to a Redis by the line.
type redisConn struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func dialRedis(t *testing.T, addr string) redisConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(2 * soon))
	return redisConn{c, t, bufio.NewReader(c)}
}

func (c redisConn) line() string {
	c.t.Helper()
	s, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("after %q: %v", s, err)
	}
	return strings.TrimRight(s, "\r\n")
}

// A large file comes through whole, many at once; and the server is told who asks.
func TestForwardNginx(t *testing.T) {
	t.Parallel()
	curl, root := need(t, "curl"), t.TempDir()
	os.Chmod(root, 0o755)
	content := make([]byte, 20<<20)
	rng := rand.NewChaCha8([32]byte{1})
	rng.Read(content)
	if err := os.WriteFile(filepath.Join(root, "file"), content, 0o644); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%x", sha256.Sum256(content))
	files, proxied := startNginx(t, root)
	everyWay(t, func(t *testing.T, w way) {
		_, addr := w.gateway(t, files)
		dir := t.TempDir()
		outputOf(t, curl, "-sS", "--fail", "--parallel", "-o", dir+"/#1", fmt.Sprintf("http://%s/file?[1-3]", addr))
		for i := range 3 {
			b, err := os.ReadFile(fmt.Sprintf("%s/%d", dir, i+1))
			if err != nil || sum(string(b)) != want {
				t.Errorf("one of three at once is not the file that was asked for: %v", err)
			}
		}
		if got := sum(outputOf(t, curl, "-sS", "--fail", "http://"+addr+"/file")); got != want {
			t.Error("it is not the file that was asked for")
		}
		for _, version := range []string{"v1", "v2"} {
			tr, addr := w.gateway(t, proxied, "--proxy-protocol", version)
			got := strings.TrimSpace(outputOf(t, curl, "-sS", "--fail", "http://"+addr+"/"))
			if l := tr.event(1, line{"msg": "opened", "kind": "session"}); got != l.text("remote") {
				t.Errorf("%s: the server is told of %q, and the client is %s", version, got, l.text("remote"))
			}
		}
	})
}

func sum(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }

// PostgreSQL's own load, and a query that says nothing for several timeouts.
func TestForwardPostgres(t *testing.T) {
	t.Parallel()
	psql, pgbench := need(t, "psql"), need(t, "pgbench")
	port := startPostgres(t)
	outputOf(t, pgbench, "-h", "127.0.0.1", "-p", port, "-U", "postgres", "-i", "-q", "postgres")
	everyWay(t, func(t *testing.T, w way) {
		_, addr := w.gateway(t, "127.0.0.1:"+port, "--timeout", several.String())
		_, port, _ := net.SplitHostPort(addr)
		to := []string{"-h", "127.0.0.1", "-p", port, "-U", "postgres", "postgres"}
		t.Run("pgbench", func(t *testing.T) {
			t.Parallel()
			out := outputOf(t, pgbench, append([]string{"-n", "-S", "-c", "8", "-t", "100"}, to...)...)
			if !strings.Contains(out, "number of failed transactions: 0 ") {
				t.Errorf("it says\n%s", out)
			}
		})
		t.Run("idle", func(t *testing.T) {
			t.Parallel()
			query := fmt.Sprintf("LISTEN news; SELECT pg_sleep(%d); NOTIFY news, 'hello'", 3*several/time.Second)
			out := outputOf(t, psql, append([]string{"-X", "-q", "-c", "LISTEN news", "-c", query}, to...)...)
			if !strings.Contains(out, `Asynchronous notification "news" with payload "hello" received`) {
				t.Errorf("it says\n%s", out)
			}
		})
	})
}

// A service that isn't there is said when serve starts, and to each client; when it is
// there again clients reach it at once.
func TestForwardUpstreamDown(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, w way) {
		upstream := "127.0.0.1:" + freePort(t)
		tr, addr := w.gateway(t, upstream)
		if l := tr.event(1, line{"msg": "upstream-down", "level": "WARN"}); l.text("upstream") != upstream || l.text("error") != "refused" {
			t.Errorf("got %v", l)
		}
		conn, err := net.Dial("tcp", addr)
		switch {
		case err == nil:
			defer conn.Close()
			io.WriteString(conn, "hello")
			if _, err := io.ReadAll(conn); err == nil {
				t.Error("the client takes it for the whole answer")
			}
		case !errors.Is(err, syscall.ECONNRESET): // which may come before Dial has returned
			t.Fatal(err)
		}
		kind := map[bool]string{true: "stream", false: "session"}[w.transport != "tcp"]
		if kind == "session" {
			l := tr.event(1, line{"msg": "closed", "kind": kind})
			if l.text("reason") != "upstream-failed" || l.text("error") != "refused" || l.text("initiator") != "local" {
				t.Errorf("got %v", l)
			}
		}
		l, err := net.Listen("tcp", upstream)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			if c, err := l.Accept(); err == nil {
				defer c.Close()
				io.Copy(c, c)
			}
		}()
		if got := say(t, addr, "hello"); got != "hello" {
			t.Errorf("got %q", got)
		}
		<-answered
		tr.event(1, line{"msg": "upstream-up", "level": "INFO", "upstream": upstream})
	})
}

// The client's dial learns the reason, where codec or transport carry one.
func TestForwardTellsWhy(t *testing.T) {
	t.Parallel()
	nobody := "127.0.0.1:" + freePort(t)
	for _, w := range ways[2:] {
		tr := serveJSON(t, "--transport", w.transport, "--listen", "127.0.0.1:0", "--forward", nobody)
		client := newTrial(t)
		client.env = tr.env
		client.stdin = strings.NewReader("hello")
		client.start("dial", "--transport", w.transport, "--codec", "raw", tr.addr(w.transport))
		if status := client.wait(); status != statusSentAway || !strings.HasPrefix(client.stderr.String(), "closed by server: upstream-failed") {
			t.Errorf("%s: exit status %d: %s", w.name, status, client.stderr)
		}
	}
}

// A proxy in front says who the client is, with TLS behind that and without.
func TestForwardAcceptsProxyHeaders(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); io.Copy(c, c) }()
		}
	}()
	header := "PROXY TCP4 192.0.2.7 192.0.2.8 1234 443\r\n"
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x08\x04\xd2\x01\xbb"
	for _, secure := range []bool{false, true} {
		tr := serveJSON(t, "--listen", "127.0.0.1:0", "--forward", l.Addr().String(), "--accept-proxy", "127.0.0.0/8", fmt.Sprintf("--tls=%v", secure), "--proxy-protocol", "v1")
		addr := tr.addr("tcp")
		for i, h := range []string{header, v2} {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, h)
			var c io.ReadWriter = conn
			if secure {
				c = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
			}
			io.WriteString(c, "hello")
			want := regexp.MustCompile(`^PROXY TCP4 192\.0\.2\.7 127\.0\.0\.1 1234 \d+\r\nhello$`)
			got := make([]byte, 0, 100)
			for !strings.HasSuffix(string(got), "hello") {
				n, err := c.Read(got[len(got):cap(got)])
				if got = got[:len(got)+n]; err != nil {
					t.Fatalf("after %q: %v", got, err)
				}
			}
			if !want.Match(got) {
				t.Errorf("the service gets %q", got)
			}
			conn.Close()
			tr.event(i+1, line{"msg": "closed", "remote": "192.0.2.7:1234"})
		}
		for _, bad := range []string{"GET / HTTP/1.0\r\n\r\n", "PROXY TCP4 nonsense\r\n", "PROXY " + strings.Repeat("x", 200)} {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, bad)
			io.ReadAll(conn)
		}
		if l := tr.event(3, line{"msg": "closed", "reason": "protocol-error"}); !strings.Contains(l.text("error"), "PROXY header: ") {
			t.Errorf("got %v", l)
		}
		silent, err := net.Dial("tcp", addr) // holds up nobody
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, header)
		tr.event(2, line{"msg": "opened"})
	}
}

// A client that has gone silent, by the evidence of bytes, goes; and so does its
// connection to the service.
func TestForwardSilence(t *testing.T) {
	t.Parallel()
	for _, from := range []string{"client", "upstream", "either"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		tr := serveJSON(t, "--listen", "127.0.0.1:0", "--forward", l.Addr().String(), "--timeout", "300ms", "--evidence", "bytes", "--evidence-from", from)
		conn, err := net.Dial("tcp", tr.addr("tcp"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, "hello")
		var service net.Conn
		for {
			if service, err = l.Accept(); err != nil {
				t.Fatal(err)
			}
			defer service.Close()
			if b := make([]byte, 5); func() bool { _, err := io.ReadFull(service, b); return err == nil }() {
				break
			} // otherwise serve has only looked whether it is there
		}
		done := make(chan struct{})
		talk := func(c net.Conn) { // as long as it is taken
			defer close(done)
			for {
				if _, err := c.Write([]byte("x")); err != nil {
					return
				}
				select {
				case <-time.After(50 * time.Millisecond):
				case <-t.Context().Done():
					return
				}
			}
		}
		reason, cause := "upstream-failed", "silent"
		if from == "client" { // the service talks, and the client doesn't
			go talk(service)
			go io.Copy(io.Discard, conn)
			reason, cause = "silent", ""
		} else { // the client talks, and the service doesn't
			go talk(conn)
		}
		io.Copy(io.Discard, service) // ends with the gateway's end
		<-done
		if l := tr.event(1, line{"msg": "closed"}); l.text("reason") != reason || l.text("error") != cause {
			t.Errorf("%s: got %v", from, l)
		}
	}
}
