package liveness_test

import (
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
)

// A handler that is busy, and reads late, costs the peer nothing: the kernel
// knows when its bytes arrived.
func TestRule10TheKernelIsAWitness(t *testing.T) {
	const timeout = 500 * ms
	for _, counts := range []codec.Evidence{codec.Bytes, codec.Messages} {
		a, b := tcpPair(t)
		defer b.Close()
		c := NewConn(a, &Config{Policy: Sliding(timeout), Evidence: counts, Engine: new(Engine)})
		defer c.Close()
		var last time.Time
		for start := time.Now(); time.Since(start) < 2*timeout; time.Sleep(50 * ms) {
			last = time.Now()
			if _, err := b.Write([]byte("beat")); err != nil {
				t.Fatalf("killed, though beats arrived unread: %v", err)
			}
			if e := c.End(); e != nil {
				t.Fatalf("killed %v after a beat that arrived unread: %v", time.Since(last), e)
			}
		}
		<-ended(c)
		if d := time.Since(last); d < timeout {
			t.Errorf("ended %v after the last beat", d)
		}
		if e := c.End(); e.Reason != Silent {
			t.Errorf("ended %v", e)
		}
	}
}

// ended waits for a connection's end without reading from it.
func ended(c *Conn) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for c.End() == nil {
			time.Sleep(ms)
		}
	}()
	return done
}

// The kernel dates a connection's beginning, too: that is no evidence.
func TestRule4OnTCPThePeerThatSaysNothingIsNotFree(t *testing.T) {
	a, b := tcpPair(t)
	defer b.Close()
	c := NewConn(a, &Config{Policy: Sliding(time.Minute), Opening: 200 * ms, Engine: new(Engine)})
	defer c.Close()
	<-ended(c)
	if e := c.End(); e.Reason != NoHello || e.Age < 200*ms {
		t.Errorf("ended %v", e)
	}
}

// And what came before the accept, and lies unread, is evidence.
func TestRule4OnTCPWhatCameBeforeTheAcceptCounts(t *testing.T) {
	a, b := tcpPair(t)
	defer b.Close()
	if _, err := b.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * ms) // it is to be old when the lease is granted
	c := NewConn(a, &Config{Policy: Sliding(time.Second), Opening: 200 * ms, Engine: new(Engine)})
	defer c.Close()
	<-ended(c)
	if e := c.End(); e.Reason != Silent {
		t.Errorf("ended %v", e)
	}
}
