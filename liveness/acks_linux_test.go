package liveness_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
)

// kernelPair returns two ends of a TCP connection over loopback.
func kernelPair(t *testing.T) (accepted, dialed *net.TCPConn) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	a, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a, d.(*net.TCPConn)
}

// A peer that sends something and then only receives, or is idle, stays open under acks,
// and ends under bytes.
func TestRule2AcksAreEvidence(t *testing.T) {
	t.Parallel()
	const timeout = LeastAckTimeout
	type outcome struct {
		evidence codec.Evidence
		end      *Error
	}
	ends := make(chan outcome)
	for _, evidence := range []codec.Evidence{0, codec.Acks, codec.Bytes} {
		a, d := kernelPair(t)
		c := NewConn(a, &Config{Policy: Sliding(timeout), Evidence: evidence, Engine: new(Engine)})
		d.Write([]byte("x"))
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		go func() {
			defer c.Close()
			select {
			case <-c.Done():
			case <-time.After(timeout + timeout/2):
			}
			ends <- outcome{evidence, c.End()}
		}()
	}
	for range 3 {
		o := <-ends
		if alive := o.evidence != codec.Bytes; alive && o.end != nil || !alive && (o.end == nil || o.end.Reason != Silent) {
			t.Errorf("evidence %d: ended %v", o.evidence, o.end)
		}
	}
}

// Acknowledgements alone don't count before the peer has sent something.
func TestRule4AcksDoNotEndTheOpeningPhase(t *testing.T) {
	t.Parallel()
	a, _ := kernelPair(t)
	c := NewConn(a, &Config{Policy: Sliding(LeastAckTimeout), Opening: 100 * ms, Engine: new(Engine)})
	<-c.Done()
	if e := c.End(); e.Reason != NoHello {
		t.Errorf("ended %v", e)
	}
}

// Keepalive sends three probes in a timeout, and does not pre-empt the policy.
func TestRule9KeepaliveFollowsThePolicy(t *testing.T) {
	a, _ := kernelPair(t)
	c := NewConn(a, &Config{Policy: Sliding(30 * sec), Engine: new(Engine)})
	defer c.Close()
	check := func(timeout time.Duration) {
		t.Helper()
		get := func(option int) time.Duration {
			var n int
			raw, _ := a.SyscallConn()
			raw.Control(func(fd uintptr) { n, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, option) })
			return time.Duration(n)
		}
		idle, every, count := get(unix.TCP_KEEPIDLE)*sec, get(unix.TCP_KEEPINTVL)*sec, get(unix.TCP_KEEPCNT)
		if idle < min(timeout/6, 5*time.Hour) || idle > timeout/3 || idle+every > timeout*2/3 || idle+count*every < 2*timeout {
			t.Errorf("under %v: idle %v, every %v, %d times", timeout, idle, every, count)
		}
	}
	check(30 * sec)
	if err := c.Session().SetPolicy(Sliding(6 * sec)); err != nil {
		t.Fatal(err)
	}
	check(6 * sec)
	if err := c.Session().SetPolicy(Sliding(48 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	check(48 * time.Hour)
}

// A timeout that is too short for keepalive is an error under acks.
func TestAcksNeedThreeSeconds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := NewListener(l, &Config{Policy: Sliding(2 * sec), Evidence: codec.Acks}).Accept(); err == nil {
		t.Error("a listener took it")
	}
	srv := &Server{Config: Config{Policy: Sliding(2 * sec), Evidence: codec.Acks}, Handler: func(context.Context, *Conn) {}}
	quiet, err := memory().Listen(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Serve(t.Context(), quiet); err == nil {
		t.Error("a server took it")
	}
}

// ETIMEDOUT under acks is Silent, not TransportLost.
func TestRule5AKernelTimeoutIsSilent(t *testing.T) {
	a, _ := kernelPair(t)
	c := NewConn(failing{a, &net.OpError{Op: "read", Err: syscall.ETIMEDOUT}}, &Config{Policy: Sliding(3 * sec), Engine: new(Engine)})
	defer c.Close()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, Silent) {
		t.Errorf("read: %v", err)
	}
}

// A failing connection is a TCP connection whose reads fail.
type failing struct {
	*net.TCPConn
	err error
}

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// While a policy is set, acknowledgements go on counting.
func TestRule2AcksCountWhileAPolicyIsSet(t *testing.T) {
	t.Parallel()
	a, d := kernelPair(t)
	c := NewConn(a, &Config{Policy: Sliding(LeastAckTimeout), Engine: new(Engine)})
	defer c.Close()
	d.Write([]byte("x"))
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(LeastAckTimeout + sec/2); time.Now().Before(until) && c.End() == nil; {
		if err := c.Session().SetPolicy(Sliding(LeastAckTimeout)); err != nil {
			t.Fatal(err)
		}
	}
	if e := c.End(); e != nil {
		t.Error(e)
	}
}

// Of two policies that are set at once, the keepalive is that of the one that stays.
func TestRule9KeepaliveFollowsThePolicyThatStays(t *testing.T) {
	a, _ := kernelPair(t)
	c := NewConn(a, &Config{Policy: Sliding(time.Hour), Engine: new(Engine)})
	defer c.Close()
	raw, _ := a.SyscallConn()
	for range 5000 {
		var both sync.WaitGroup
		for _, p := range []Policy{Sliding(time.Hour), Sliding(10 * time.Hour)} {
			both.Go(func() { c.Session().SetPolicy(p) })
		}
		both.Wait()
		var idle int
		raw.Control(func(fd uintptr) { idle, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE) })
		if p := c.Session().Policy(); (p == "sliding 10h0m0s") != (idle > 1200) {
			t.Fatalf("%s, and keepalive after %d s", p, idle)
		}
	}
}

// Under a shorter policy a kernel that was asked seldom is asked before it is judged, even
// if the first packet is lost. One that does not answer has the policy's time.
func TestRule2AShorterPolicyAsksFirst(t *testing.T) {
	t.Parallel()
	server, peer := newNetHost(t), newNetHost(t)
	defer server.close()
	defer peer.close()
	accepted, dialed, err := linkedHosts(t, server, peer, 1)
	if err != nil {
		t.Skip(err)
	}
	defer dialed[0].Close()
	c := NewConn(accepted[0], &Config{Policy: Sliding(time.Hour), Engine: new(Engine)})
	defer c.Close()
	dialed[0].Write([]byte("x"))
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(LeastAckTimeout + sec) // it is silent for longer than the new policy bears
	if err := vanish(server, peer); err != nil {
		t.Fatal(err)
	}
	if err := c.Session().SetPolicy(Sliding(LeastAckTimeout)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * ms)
	const back = "neigh del %s dev veth"
	if err := errors.Join(peer.ip(fmt.Sprintf(back, "10.0.0.1")), server.ip(fmt.Sprintf(back, "10.0.0.2"))); err != nil {
		t.Fatal(err)
	}
	time.Sleep(LeastAckTimeout)
	if e := c.End(); e != nil {
		t.Fatal(e)
	}
	if err := vanish(server, peer); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	<-c.Done()
	if d := time.Since(began); c.End().Reason != Silent || d > LeastAckTimeout+sec {
		t.Errorf("ended %v, %v after it vanished", c.End(), d)
	}
}
