package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/livenet/livenet/liveness"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	flag.Set("test.parallel", "16") // the parallel ones wait more than they work
	goleak.VerifyTestMain(m)
}

const timeout = 10 * time.Second

// inBubble serves one connection, made by net.Pipe, where waiting takes no time
// and times are exact. It gives the client's end to talk, and returns how the
// connection ended at the server.
func inBubble(t *testing.T, change func(*http.Server, *liveness.Config), talk func(net.Conn)) (end *liveness.Error) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		srv, cfg := newServer(timeout), policy(timeout)
		cfg.Engine = new(liveness.Engine)
		if change != nil {
			change(srv, cfg)
		}
		ended := make(chan *liveness.Error, 1)
		cfg.Events = func(ev liveness.Event) {
			if ev.What == liveness.Closed {
				ended <- ev.End
			}
		}
		server, client := net.Pipe()
		defer client.Close()
		l := &oneConn{make(chan net.Conn, 1), make(chan struct{})}
		l.conns <- server
		served := make(chan error, 1)
		go func() { served <- serve(ctx, l, srv, cfg) }()
		talk(client)
		end = <-ended
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return end
}

// oneConn is a listener to whom one client comes.
type oneConn struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *oneConn) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }
func (l *oneConn) Close() error   { close(l.closed); return nil }

// ask sends a request and reads the answer, if there is one.
func ask(conn net.Conn, path string) (answer string, err error) {
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: here\r\n\r\n", path)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// trickle sends a header without end, a byte a second, until it can't or for d.
// It reads, too, lest an answer to half a header get stuck in the pipe.
func trickle(conn net.Conn, d time.Duration) error {
	go io.Copy(io.Discard, conn)
	header := "GET / HTTP/1.1\r\nCookie: " + strings.Repeat("x", int(d/time.Second))
	for i := range int(d / time.Second) {
		if _, err := conn.Write([]byte{header[i]}); err != nil {
			return err
		}
		time.Sleep(time.Second) // passes at once: these are the bubble's seconds
	}
	return nil
}

// checkEnd allows for the two ticks that the engine may be late, and for the
// nanosecond by which it tells grants of the same instant apart.
func checkEnd(t *testing.T, end *liveness.Error, reason liveness.Reason, age time.Duration) {
	t.Helper()
	if late := end.Age - age; end.Reason != reason || late < -1 || late > 2*liveness.DefaultTick {
		t.Errorf("%v at the age of %v, want %v at %v", end, end.Age, reason, age)
	}
}

func TestClientThatSaysNothing(t *testing.T) {
	end := inBubble(t, nil, func(conn net.Conn) {
		if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("Read: %v", err)
		}
	})
	checkEnd(t, end, liveness.NoHello, timeout/2)
}

func TestIdleKeepAlive(t *testing.T) {
	end := inBubble(t, nil, func(conn net.Conn) {
		time.Sleep(timeout / 4) // bubble
		for range 2 {
			if answer, err := ask(conn, "/"); answer != "hello\n" {
				t.Errorf("%q, %v", answer, err)
			}
			time.Sleep(timeout - time.Nanosecond) // bubble
		}
		if answer, err := ask(conn, "/"); answer != "hello\n" {
			t.Errorf("a nanosecond before the deadline: %q, %v", answer, err)
		}
	})
	checkEnd(t, end, liveness.Silent, timeout/4+3*timeout-2*time.Nanosecond)
}

func TestSlowAnswer(t *testing.T) {
	tests := []struct {
		path, answer string
		ends         time.Duration
	}{
		{"/slow?for=9s", "that took 9s\n", timeout},
		{"/slow?for=20s", "", timeout},
		{"/slow?for=20s&vouch=1", "that took 20s\n", 6*(timeout/3) + timeout},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			end := inBubble(t, nil, func(conn net.Conn) {
				if answer, err := ask(conn, tt.path); answer != tt.answer {
					t.Errorf("%q, %v", answer, err)
				}
			})
			checkEnd(t, end, liveness.Silent, tt.ends)
		})
	}
}

func TestSlowLoris(t *testing.T) {
	t.Run("lives on under the policy alone", func(t *testing.T) {
		end := inBubble(t, func(srv *http.Server, _ *liveness.Config) {
			srv.ReadHeaderTimeout = 0
		}, func(conn net.Conn) {
			if err := trickle(conn, 20*timeout); err != nil {
				t.Errorf("it was ended: %v", err)
			}
		})
		checkEnd(t, end, liveness.Silent, 20*timeout-time.Second+timeout)
	})
	t.Run("is ended by ReadHeaderTimeout", func(t *testing.T) {
		end := inBubble(t, nil, func(conn net.Conn) {
			if trickle(conn, 20*timeout) == nil {
				t.Error("it was not")
			}
		})
		checkEnd(t, end, liveness.Done, 2*timeout)
	})
	t.Run("is ended by MaxAge", func(t *testing.T) {
		end := inBubble(t, func(srv *http.Server, cfg *liveness.Config) {
			srv.ReadHeaderTimeout = 0
			cfg.Policy = liveness.Earliest(cfg.Policy, liveness.MaxAge(3*timeout, 0))
		}, func(conn net.Conn) {
			if trickle(conn, 20*timeout) == nil {
				t.Error("it was not")
			}
		})
		checkEnd(t, end, liveness.Aged, 3*timeout)
	})
}

// start serves on a port of this machine until the test ends. Ends of
// connections go to the channel.
func start(t *testing.T, timeout time.Duration) (url string, ends <-chan *liveness.Error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan *liveness.Error, 100)
	cfg := policy(timeout)
	cfg.Opening = time.Minute // a slow machine may take long to start a client
	cfg.Events = func(ev liveness.Event) {
		if ev.What == liveness.Closed {
			closed <- ev.End
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- serve(ctx, l, newServer(timeout), cfg) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String(), closed
}

func TestWithTheClientOfNetHTTP(t *testing.T) {
	url, ends := start(t, 500*time.Millisecond)
	client := &http.Client{Transport: new(http.Transport)}
	defer client.CloseIdleConnections()
	for range 2 { // the second time on a new connection
		resp, err := client.Get(url + "/")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(body) != "hello\n" {
			t.Errorf("%q, %v", body, err)
		}
		if end := <-ends; end.Reason != liveness.Silent || end.Silence < 500*time.Millisecond {
			t.Errorf("the idle connection was %v", end)
		}
	}
}

func TestWithCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	curl := func(url string) (string, error) {
		out, err := exec.CommandContext(t.Context(), "curl", "--silent", "--max-time", "30", url).Output()
		return string(out), err
	}
	tests := []struct {
		path    string
		timeout time.Duration
		answer  string
		reason  liveness.Reason
	}{
		{"/", time.Minute, "hello\n", liveness.PeerClosed},
		{"/slow?for=10ms", time.Minute, "that took 10ms\n", liveness.PeerClosed},
		{"/slow?for=1h", 500 * time.Millisecond, "", liveness.Silent},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			url, ends := start(t, tt.timeout)
			answer, err := curl(url + tt.path)
			if answer != tt.answer || (err != nil) != (tt.answer == "") {
				t.Errorf("%q, %v", answer, err)
			}
			if end := <-ends; end.Reason != tt.reason {
				t.Errorf("%v, want %v", end, tt.reason)
			}
		})
	}
}
