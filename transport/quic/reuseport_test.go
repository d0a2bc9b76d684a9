package quic

import (
	"runtime"
	"testing"
	"time"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/transporttest"
)

// Two listeners on one port both get sessions, and each session stays with its listener.
func TestReusePortSpreadsSessions(t *testing.T) {
	if runtime.GOOS != "linux" && runtime.GOOS != "freebsd" {
		t.Skip("this system does not spread packets")
	}
	serverTLS, clientTLS := transporttest.Certificates(t)
	shared := Transport{TLS: serverTLS, ReusePort: true}
	addr := "127.0.0.1:0"
	type acceptance struct {
		listener int
		session  transport.Session
	}
	accepted := make(chan acceptance, 1)
	var count [2]int
	for i := range count {
		l, err := shared.Listen(t.Context(), addr)
		if err != nil {
			t.Fatal(err)
		}
		addr = l.Addr().String()
		ended := make(chan struct{})
		t.Cleanup(func() {
			l.Close()
			<-ended
		})
		go func() {
			defer close(ended)
			for {
				s, err := l.Accept(t.Context())
				if err != nil {
					return
				}
				accepted <- acceptance{i, s}
			}
		}()
	}
	if l, err := (Transport{TLS: serverTLS}).Listen(t.Context(), addr); err == nil {
		l.Close()
		t.Error("a listener that does not share the port gets it all the same")
	}
	timeout := time.After(30 * time.Second)
	for count[0] == 0 || count[1] == 0 {
		client, err := Transport{TLS: clientTLS}.Dial(t.Context(), addr)
		if err != nil {
			t.Fatal(err)
		}
		a := <-accepted
		count[a.listener]++
		out, err := client.OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out.Write([]byte("x"))
		in, err := a.session.AcceptStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := in.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
		client.Close(0, "")
		a.session.Close(0, "")
		select {
		case <-timeout:
			t.Fatalf("sessions are spread %v", count)
		default:
		}
	}
}
