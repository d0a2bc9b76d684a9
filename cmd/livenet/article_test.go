package main

import (
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// The client of a published article about heartbeats, without its output, and faster.

const (
	articleBeats = 10
	articleEvery = 2 * time.Second
	articlePause = 2 * 12 * time.Second
	shortPause   = 6 * time.Second // is too long for the policy as well

	// faster divides the article's times: its timeout of 4 s becomes 400 ms. A busy machine
	// rarely delays a client for so long.
	faster = 10
)

func scaled(d time.Duration) string { return (d / faster).String() }

// A telling is what the client has sent.
type telling struct {
	written int           // writes that succeeded
	err     error         // of the one that did not
	longest time.Duration // between two writes of one row, when they were to be articleEvery apart
}

// tellArticle is the article's sender. It sleeps between its writes, as the article's does.
func tellArticle(conn io.Writer, pause time.Duration) (l telling) {
	last := time.Now()
	send := func(words string) bool {
		for i := range articleBeats {
			if _, l.err = conn.Write([]byte(strconv.Itoa(i) + words)); l.err != nil {
				return false
			}
			now := time.Now()
			if i > 0 {
				l.longest = max(l.longest, now.Sub(last))
			}
			last = now
			l.written++
			time.Sleep(articleEvery / faster)
		}
		return true
	}
	if !send(" Hello I'm MyHeartbeat Client.") {
		return l
	}
	time.Sleep(pause / faster)
	send(" Hi I'm MyHeartbeat Client.")
	return l
}

const articleWords = len("0 Hello I'm MyHeartbeat Client.")

// fit skips the test if the machine was so busy that the client itself was silent for longer
// than the timeout.
func (l telling) fit(t *testing.T, timeout time.Duration) {
	t.Helper()
	if l.longest >= timeout/faster*9/10 {
		t.Skipf("this machine held the client up for %v: the story was not told", l.longest)
	}
}

// Rule 3, plain TCP: under a sliding policy the client is closed as silent after the tenth
// write, and its next write fails.
func TestRule3ArticleSliding(t *testing.T) {
	t.Parallel()
	tr := serveJSON(t, "--listen", "127.0.0.1:0", "--policy", "sliding", "--timeout", scaled(4*time.Second))
	conn, err := net.Dial("tcp", tr.addr("tcp"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got := tellArticle(conn, articlePause)
	got.fit(t, 4*time.Second)
	if got.written != articleBeats || got.err == nil {
		t.Errorf("%d writes, then %v; want an error after %d", got.written, got.err, articleBeats)
	}
	end := tr.event(1, line{"msg": "closed"})
	if end.text("reason") != "silent" || end.text("initiator") != "local" || end.text("policy") != "sliding 400ms" {
		t.Errorf("it ended thus: %v", end)
	}
	if end.number("silent_ms") < 400 || end.number("bytes_in") != articleBeats*articleWords {
		t.Errorf("it ended early: %v", end)
	}
}

// Rule 3, plain TCP: under a fixed policy the client is closed although it sends.
func TestRule3ArticleFixed(t *testing.T) {
	t.Parallel()
	tr := serveJSON(t, "--listen", "127.0.0.1:0", "--policy", "fixed", "--timeout", scaled(10*time.Second))
	conn, err := net.Dial("tcp", tr.addr("tcp"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got := tellArticle(conn, articlePause)
	if got.err == nil || got.written >= 2*articleBeats {
		t.Errorf("%d writes, then %v", got.written, got.err)
	}
	end := tr.event(1, line{"msg": "closed"})
	if end.text("reason") != "fixed-deadline" || end.text("initiator") != "local" || end.number("age_ms") < 1000 {
		t.Errorf("it ended thus: %v", end)
	}
	if end.number("bytes_in") < articleWords {
		t.Errorf("it was not talking: %v", end)
	}
}

// Rule 6: the same client through dial ends the same way on every transport, and dial prints
// the reason.
func TestRule6ArticleThroughDial(t *testing.T) {
	for _, test := range []struct {
		transport, policy string
		timeout           time.Duration
		reason, words     string
	}{
		{"quic", "sliding", 4 * time.Second, "silent", `^closed by server: silent after 400ms\n$`},
		{"quic", "fixed", 10 * time.Second, "fixed-deadline", `^closed by server: fixed-deadline after ([89]\d\dms|1\.\ds)\n$`},
		{"yamux", "sliding", 4 * time.Second, "silent", `^closed by server: silent after 400ms\n$`},
		{"yamux", "fixed", 10 * time.Second, "fixed-deadline", `^closed by server: fixed-deadline after ([89]\d\dms|1\.\ds)\n$`},
		{"tcp", "sliding", 4 * time.Second, "silent", `^closed by server: silent after 400ms\n$`},
		{"tcp", "fixed", 10 * time.Second, "fixed-deadline", `^closed by server: fixed-deadline after ([89]\d\dms|1\.\ds)\n$`},
	} {
		t.Run(test.transport+" "+test.policy, func(t *testing.T) {
			t.Parallel()
			server := serveJSON(t, "--listen", "127.0.0.1:0", "--transport", test.transport, "--policy", test.policy, "--timeout", scaled(test.timeout))
			client := newTrial(t)
			client.env = server.env // to trust its certificate
			stdin, article := io.Pipe()
			client.stdin = stdin
			client.start("dial", "--no-beat", "--transport", test.transport, server.addr(test.transport))
			told := make(chan telling, 1)
			go func() { told <- tellArticle(article, shortPause) }()
			status := client.wait()
			got := <-told
			if test.policy == "sliding" {
				got.fit(t, test.timeout)
			}
			if status != statusDeadline {
				t.Errorf("exit status %d, want %d", status, statusDeadline)
			}
			if text := client.stderr.String(); !regexp.MustCompile(test.words).MatchString(text) {
				t.Errorf("dial says %q, want %s", text, test.words)
			}
			end := server.event(1, line{"msg": "closed", "kind": "session"})
			if end.text("reason") != test.reason || end.text("initiator") != "local" {
				t.Errorf("it ended thus: %v", end)
			}
			if test.policy == "sliding" && got.written < articleBeats {
				t.Errorf("%d writes, want %d", got.written, articleBeats)
			}
		})
	}
}

// With heartbeats the same client stays connected although it sends no data.
func TestArticleWithBeats(t *testing.T) {
	t.Parallel()
	server := serveJSON(t, "--listen", "127.0.0.1:0", "--timeout", scaled(articlePause/2)) // it is silent for twice as long
	client := newTrial(t)
	stdin, article := io.Pipe()
	client.stdin = stdin
	client.start("dial", server.addr("tcp"))
	got := tellArticle(article, articlePause)
	article.Close()
	if status := client.wait(); status != 0 || client.stderr.String() != "" {
		t.Errorf("exit status %d: %s", status, client.stderr)
	}
	end := server.event(1, line{"msg": "closed"})
	if end.text("reason") != "done" || end.number("beats") == 0 {
		t.Errorf("it ended thus: %v", end)
	}
	want := ""
	for _, words := range []string{"Hello", "Hi"} {
		for i := range articleBeats {
			want += fmt.Sprintf("%d %s I'm MyHeartbeat Client.", i, words)
		}
	}
	if got.err != nil || client.stdout.String() != want {
		t.Errorf("%+v; it was told %q", got, client.stdout)
	}
}
