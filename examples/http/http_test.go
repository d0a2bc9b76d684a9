package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport/transporttest"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	flag.Set("test.parallel", "16") // they wait far more than they work
	goleak.VerifyTestMain(m)
}

const timeout = liveness.LeastAckTimeout

// A site is a running server, its client, and its connections' ends.
type site struct {
	url, addr string
	client    *http.Client
	tls       *tls.Config // the client's; nil: without
	ends      chan *liveness.Error
	stop      func()
}

func start(t *testing.T, proto string) *site {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{url: "http://" + inner.Addr().String(), addr: inner.Addr().String(), ends: make(chan *liveness.Error, 100)}
	cfg := config(timeout)
	cfg.Events = func(e liveness.Event) {
		log.Println(e)
		if e.What == liveness.Closed {
			s.ends <- e.End
		}
	}
	l := liveness.NewListener(inner, cfg)
	srv := newServer(l, timeout)
	tr := new(http.Transport)
	if proto != "http/1.1" {
		srv.TLSConfig, s.tls = transporttest.Certificates(t)
		srv.TLSConfig.NextProtos, s.tls.NextProtos = nil, nil
		tr.TLSClientConfig, tr.ForceAttemptHTTP2 = s.tls, proto == "h2"
		s.tls.ServerName = "127.0.0.1"
		s.url = "https://" + s.addr
	}
	s.client = &http.Client{Transport: tr}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- serve(ctx, l, srv, "", "") }()
	s.stop = func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		s.stop()
	})
	return s
}

func (s *site) do(t *testing.T, method, path string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func (s *site) text(t *testing.T, path string) string {
	t.Helper()
	resp := s.do(t, "GET", path)
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("GET %v: %v", path, err)
	}
	return string(b)
}

// protos has f run over each of them.
func protos(t *testing.T, f func(*testing.T, *site, int)) {
	t.Parallel()
	for i, proto := range []string{"http/1.1", "https/1.1", "h2"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			f(t, start(t, proto), 1+i/2)
		})
	}
}

func TestADownloadOutlastsTheTimeout(t *testing.T) {
	protos(t, func(t *testing.T, s *site, major int) {
		resp := s.do(t, "GET", fmt.Sprintf("/download?for=%v", timeout+timeout/2))
		b, err := io.ReadAll(resp.Body)
		if n := strings.Count(string(b), "\n"); err != nil || n < 20 || resp.ProtoMajor != major {
			t.Errorf("%v: %d pieces, %v", resp.Proto, n, err)
		}
	})
}

// Between two events nothing is sent in either direction for longer than the timeout.
func TestEventsOutlastTheTimeout(t *testing.T) {
	protos(t, func(t *testing.T, s *site, _ int) {
		in := bufio.NewScanner(s.do(t, "GET", fmt.Sprintf("/events?every=%v", timeout+time.Second)).Body)
		for range 4 { // two events, each with an empty line
			if !in.Scan() {
				t.Fatal(in.Err())
			}
		}
	})
}

func TestASlowLorisIsEnded(t *testing.T) {
	protos(t, func(t *testing.T, s *site, major int) {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		began, header := time.Now(), "GET / HTTP/1.1\r\nCookie: "+strings.Repeat("x", 100)
		switch {
		case s.tls == nil:
			_, err = io.WriteString(trickling{conn}, header)
		case major == 1:
			secure := tls.Client(conn, s.tls)
			if err := secure.Handshake(); err != nil {
				t.Fatal(err)
			}
			_, err = io.WriteString(trickling{secure}, header)
		default: // HTTP/2's request comes at once, so here the handshake trickles
			err = tls.Client(trickling{conn}, s.tls).Handshake()
		}
		if took := time.Since(began); err == nil || took < timeout || took > 2*timeout {
			t.Errorf("after %v: %v", took, err)
		}
		if e := <-s.ends; e.Reason != liveness.Done {
			t.Error(e)
		}
	})
}

// trickling writes a byte at a time.
type trickling struct{ net.Conn }

func (s trickling) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := s.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
		time.Sleep(100 * time.Millisecond) // the trickle
	}
	return len(p), nil
}

func TestASilentClientIsEnded(t *testing.T) {
	t.Parallel()
	s := start(t, "h2")
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if e := <-s.ends; e.Reason != liveness.Done {
		t.Error(e)
	}
}

func TestSessionsAreListedAndEnded(t *testing.T) {
	protos(t, func(t *testing.T, s *site, _ int) {
		events := s.do(t, "GET", "/events")
		tr := &http.Transport{TLSClientConfig: s.tls.Clone()}
		if s.tls != nil {
			tr.TLSClientConfig.NextProtos = nil // the other transport has added h2
		}
		one := &http.Client{Transport: tr}
		defer one.CloseIdleConnections()
		other := &site{url: s.url, client: one}
		list := other.text(t, "/sessions")
		if strings.Count(list, "\n") != 2 {
			t.Fatalf("sessions:\n%s", list)
		}
		var id int
		for line := range strings.Lines(list) {
			var n int
			fmt.Sscan(line, &n)
			if id == 0 || n < id {
				id = n
			}
		}
		if resp := other.do(t, "DELETE", fmt.Sprintf("/sessions/%d", id)); resp.StatusCode != 200 {
			t.Error(resp.Status)
		}
		if _, err := io.Copy(io.Discard, events.Body); err == nil {
			t.Error("the events look complete")
		}
		if e := <-s.ends; e.Reason != liveness.Kicked {
			t.Error(e)
		}
	})
}

// A stream of events has no end that could be waited for.
func TestShutdownEndsWhatIsLeft(t *testing.T) {
	t.Parallel()
	s := start(t, "http/1.1")
	events := s.do(t, "GET", "/events")
	s.stop()
	s.stop = func() {}
	if _, err := io.Copy(io.Discard, events.Body); err == nil {
		t.Error("the events look complete")
	}
	if e := <-s.ends; e.Reason != liveness.Draining {
		t.Error(e)
	}
}
