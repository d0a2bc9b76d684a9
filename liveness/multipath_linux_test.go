package liveness

import (
	"net"
	"testing"
)

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
		if _, ok := witnessOf(conn).ask(); ok == several {
			t.Errorf("over several paths: %v; a witness: %v", several, ok)
		}
	}
}
