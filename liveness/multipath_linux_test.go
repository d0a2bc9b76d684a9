package liveness

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livenet/livenet/codec"
)

// Data on a connection that several streams share may belong to any of them, so it dates
// none.
func TestRule10SharedConnectionHasNoArrivalTimes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	peer.Write([]byte("x"))
	conn.Read(make([]byte, 1))
	w := tcpSocketOf(conn)
	for _, w.shared = range []bool{false, true} {
		if _, ok := w.lastData(); ok == w.shared {
			t.Errorf("shared: %v; dated: %v", w.shared, ok)
		}
	}
}

// TCP_INFO describes only the first of several paths, so it is not used.
func TestRule10MultipathIsNotQueried(t *testing.T) {
	config := net.ListenConfig{}
	config.SetMultipathTCP(true)
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, several := range []bool{true, false} {
		dialer := net.Dialer{}
		dialer.SetMultipathTCP(several)
		peer, err := dialer.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if is, _ := conn.(*net.TCPConn).MultipathTCP(); is != several {
			t.Skip("this kernel has no multipath TCP")
		}
		peer.Write([]byte("x"))
		conn.Read(make([]byte, 1))
		if _, ok := tcpSocketOf(conn).info(); ok == several {
			t.Errorf("over several paths: %v; with TCP_INFO: %v", several, ok)
		}
		checkKeepAliveJudges(t, conn, several)
	}
}

// Where the kernel judges by keepalive, it does so at the timeout; elsewhere not before
// the policy has.
func checkKeepAliveJudges(t *testing.T, conn net.Conn, judges bool) {
	t.Helper()
	const timeout = 6 * time.Second
	c := NewConn(conn, &Config{Policy: Sliding(timeout), Evidence: codec.Acks, Engine: new(Engine)})
	defer c.Close()
	if c.bits.Load()&acksAreEvidence == 0 {
		t.Skip("this kernel has no keepalive for multipath TCP")
	}
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	get := func(option int) (n int) {
		raw.Control(func(fd uintptr) { n, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, option) })
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	gives := time.Duration(get(unix.TCP_KEEPIDLE)+get(unix.TCP_KEEPINTVL)*get(unix.TCP_KEEPCNT)) * time.Second
	if judges && gives != timeout || !judges && gives < 2*timeout {
		t.Errorf("the kernel judges: %v; it gives up after %v", judges, gives)
	}
}
