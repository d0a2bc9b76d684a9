package liveness_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
)

// A handler that is busy, and reads late, costs the peer nothing: the kernel
// knows when its bytes arrived.
func TestRule10TheKernelIsAWitness(t *testing.T) {
	t.Parallel()
	const timeout = 300 * ms
	for name, counts := range map[string]codec.Evidence{"Bytes": codec.Bytes, "Messages": codec.Messages} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// A beat that is sent within half a timeout of the one before has
			// arrived within a timeout of it, unless the next one is late, too.
			undisturbed(t, timeout/2, func(p *pulse) error {
				a, b := tcpPair(t)
				defer b.Close()
				c := NewConn(a, &Config{Policy: Sliding(timeout), Evidence: counts, Engine: new(Engine)})
				defer c.Close()
				var last time.Time
				for start := time.Now(); time.Since(start) < 3*timeout; time.Sleep(50 * ms) {
					p.beat()
					last = time.Now()
					if _, err := b.Write([]byte("beat")); err != nil {
						return fmt.Errorf("killed, though beats arrived unread: %v", err)
					}
					if e := c.End(); e != nil {
						return fmt.Errorf("killed %v after a beat that arrived unread: %v", time.Since(last), e)
					}
				}
				p.rest()
				<-ended(c)
				if d := time.Since(last); d < timeout {
					return fmt.Errorf("ended %v after the last beat", d)
				}
				if e := c.End(); e.Reason != Silent {
					return fmt.Errorf("ended %v", e)
				}
				return nil
			})
		})
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
	t.Parallel()
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
	t.Parallel()
	a, b := tcpPair(t)
	defer b.Close()
	if _, err := b.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * ms) // it is to be old when the lease is granted
	c := NewConn(a, &Config{Policy: Sliding(300 * ms), Opening: 200 * ms, Engine: new(Engine)})
	defer c.Close()
	<-ended(c)
	if e := c.End(); e.Reason != Silent {
		t.Errorf("ended %v", e)
	}
}

// What the application knows of its peer has not come by the connection: the
// kernel has no say in when that was, not even after a stall.
func TestRule11TheApplicationsWordIsNotDatedByTheKernel(t *testing.T) {
	t.Parallel()
	const timeout = 500 * ms
	undisturbed(t, timeout/4, func(p *pulse) error {
		defer p.every(20 * ms)()
		a, b := tcpPair(t)
		defer b.Close()
		e := new(Engine)
		c := NewConn(a, &Config{Policy: Sliding(timeout), Engine: e})
		defer c.Close()
		if _, err := b.Write([]byte("x")); err != nil {
			return err
		}
		if _, err := c.Read(make([]byte, 1)); err != nil {
			return err
		}
		e.Grant(&holdUp{d: timeout / 2}, func(Expiry) {})
		time.Sleep(timeout * 3 / 5)
		renewed := time.Now()
		if !c.Renew() {
			return fmt.Errorf("it has ended already: %v", c.End())
		}
		<-ended(c)
		if d := time.Since(renewed); d < timeout {
			return fmt.Errorf("ended %v after the application had heard of the peer: %v", d, c.End())
		}
		return nil
	})
}

// holdUp is a policy that holds up who judges by it, once, for so long.
type holdUp struct {
	d    time.Duration
	once sync.Once
}

func (h *holdUp) Judge(e Evidence) Verdict {
	if e.Age < 10*ms {
		return JudgeAgain(10 * ms)
	}
	h.once.Do(func() { time.Sleep(h.d) })
	return Expired(FixedDeadline, 10*ms)
}
