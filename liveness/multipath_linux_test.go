package liveness

import (
	"net"
	"testing"
)

// What came on a connection that several streams share may be of any of them: it
// dates none.
func TestRule10ASharedConnectionDatesNothing(t *testing.T) {
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

// Of several paths the kernel tells of the first only: nobody is judged by that.
func TestRule10APathIsNoWitness(t *testing.T) {
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
			t.Errorf("over several paths: %v; a witness: %v", several, ok)
		}
	}
}
