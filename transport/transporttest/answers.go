package transporttest

import (
	"testing"
	"time"

	"github.com/livenet/livenet/transport"
)

// testAnswerer tests sessions that are Answerers. The peer's stack answers although its
// application does nothing, unless no pings are sent: the keepalive of a KeepAliver may be off.
// When the peer is gone there is no answer.
func testAnswerer(t *testing.T, n *network) {
	keepAlive, asks := time.Duration(0), true
	if k, ok := transport.As[transport.KeepAliver](n.listener); ok {
		keepAlive = k.KeepAlive()
		asks = keepAlive > 0 && keepAlive < maxWait/2
	}
	any := false
	for _, name := range []string{"Client", "Server"} {
		p := n.pair(t)
		here, there := p.client, p.server
		if name == "Server" {
			here, there = there, here
		}
		a, ok := transport.As[transport.Answerer](here)
		if !ok {
			continue
		}
		any = true
		t.Run(name, func(t *testing.T) {
			echo(t, p.opened, p.accepted)
			wantAnswer(t, a)
			for range 3 {
				if asks {
					a.Answered() // whatever has come until now
					wantAnswer(t, a)
				}
			}
			if n.Cut != nil {
				n.Cut(p.client, p.server)
			} else {
				there.Close(0, "")
				ended(t, here)
			}
			wantNoAnswer(t, a, max(10*quiet, 3*keepAlive))
		})
	}
	if !any {
		t.Skip("no end is a transport.Answerer")
	}
}

func wantAnswer(t *testing.T, a transport.Answerer) {
	t.Helper()
	for end := time.Now().Add(maxWait); !a.Answered(); <-time.After(quiet) {
		if time.Now().After(end) {
			t.Fatalf("no answer for %v", maxWait)
		}
	}
}

// wantNoAnswer waits until a has not answered for d. What was under way may still come.
func wantNoAnswer(t *testing.T, a transport.Answerer, d time.Duration) {
	t.Helper()
	end := time.Now().Add(maxWait)
	for since := time.Now(); time.Since(since) < d; <-time.After(quiet) {
		if a.Answered() {
			since = time.Now()
		}
		if time.Now().After(end) {
			t.Fatal("a peer that has gone answers")
		}
	}
}

// testKeepAlive: a transport must have asked an idle peer before it gives it up.
func testKeepAlive(t *testing.T, n *network) {
	k, ok := transport.As[transport.KeepAliver](n.listener)
	if !ok {
		t.Skip("its listener is no transport.KeepAliver")
	}
	every := k.KeepAlive()
	if every < 0 {
		t.Errorf("KeepAlive of %v", every)
	}
	if i, ok := transport.As[transport.IdleTimeouter](n.listener); ok && i.IdleTimeout() > 0 && every >= i.IdleTimeout() {
		t.Errorf("it asks every %v, and gives up after %v", every, i.IdleTimeout())
	}
}
