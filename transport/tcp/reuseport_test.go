package tcp_test

import (
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/tcp"
)

// Two listeners on one port both get connections. When one closes, the other gets all.
func TestReusePortSpreadsConnections(t *testing.T) {
	if runtime.GOOS != "linux" && runtime.GOOS != "freebsd" {
		t.Skip("this system does not spread connections")
	}
	shared := tcp.Transport{ReusePort: true}
	first, err := shared.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	addr := first.Addr().String()
	second, err := shared.Listen(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if l, err := (tcp.Transport{}).Listen(t.Context(), addr); err == nil {
		l.Close()
		t.Error("a listener without ReusePort could bind the same port")
	}

	firsts := acceptAll(t, first)
	seconds := acceptAll(t, second)
	await := func(what string, came <-chan struct{}) {
		t.Helper()
		timeout := time.After(maxWait)
		for {
			dialAndClose(t, addr)
			select {
			case <-came:
				return
			case <-timeout:
				t.Fatalf("%s gets no connection", what)
			default:
			}
		}
	}
	await("the first", firsts)
	await("the second", seconds)
	second.Close()
	const more = 16 // a hash would have sent half of them to the second
	for range more {
		dialAndClose(t, addr)
	}
}

// acceptAll accepts until l closes, and sends for each session.
func acceptAll(t *testing.T, l transport.Listener) <-chan struct{} {
	came := make(chan struct{}, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			s, err := l.Accept(t.Context())
			if err != nil {
				return
			}
			s.Close(0, "")
			select {
			case came <- struct{}{}:
			default:
			}
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return came
}

func dialAndClose(t *testing.T, addr string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
