package quic

import (
	"context"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/livenet/livenet/transport/transporttest"
)

// A refusing socket fails to send while a test sets it to.
type refusing struct {
	udpConn
	err     atomic.Pointer[syscall.Errno]
	refused chan struct{}
}

func (r *refusing) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	if err := r.refuse(addr); err != nil {
		return 0, 0, err
	}
	return r.udpConn.WriteMsgUDP(b, oob, addr)
}

func (r *refusing) WriteTo(b []byte, addr net.Addr) (int, error) {
	if err := r.refuse(addr); err != nil {
		return 0, err
	}
	return r.udpConn.WriteTo(b, addr)
}

func (r *refusing) refuse(addr net.Addr) error {
	no := r.err.Load()
	if no == nil {
		return nil
	}
	select {
	case r.refused <- struct{}{}:
	default:
	}
	return &net.OpError{Op: "write", Net: "udp", Addr: addr, Err: os.NewSyscallError("sendmsg", *no)}
}

// refusingEndpoint returns an endpoint on a refusing socket.
func refusingEndpoint(t *testing.T) (*endpoint, *refusing) {
	t.Helper()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ep := newEndpoint(udp, nil)
	r := &refusing{udpConn: udp, refused: make(chan struct{}, 1)}
	ep.socket.udpConn = r
	return ep, r
}

// Rule 9: a datagram that the kernel refuses, for want of a route for instance, counts as
// lost and does not end the session.
func TestRule9ARefusedDatagramDoesNotEndTheSession(t *testing.T) {
	certified, trusting := transporttest.Certificates(t)
	serverConf, err := serverTLS(certified)
	if err != nil {
		t.Fatal(err)
	}
	for _, errno := range []syscall.Errno{syscall.ENETUNREACH, syscall.EPERM, syscall.ENOMEM} {
		for _, at := range []string{"client", "server"} {
			t.Run(at+" "+errno.Error(), func(t *testing.T) {
				theirs, refusingThere := refusingEndpoint(t)
				l, err := listen(theirs, serverConf, config(nil), 0)
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				ours, r := refusingEndpoint(t)
				conn, err := ours.transport.Dial(t.Context(), l.Addr(), clientTLS(trusting, l.Addr().String()), config(nil))
				if err != nil {
					t.Fatal(err)
				}
				from := newSession(conn, ours)
				ours.release(0)
				defer from.Close(0, "")
				to, err := l.Accept(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer to.Close(0, "")
				opened, err := from.OpenStream(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := opened.Write([]byte("1")); err != nil {
					t.Fatal(err)
				}
				accepted, err := to.AcceptStream(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				here, there := net.Conn(opened), net.Conn(accepted)
				if at == "server" {
					here, there, r = there, here, refusingThere
				} else if _, err := io.ReadFull(there, make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				r.err.Store(&errno)
				if _, err := here.Write([]byte("2")); err != nil {
					t.Fatal(err)
				}
				<-r.refused
				r.err.Store(nil)
				there.SetReadDeadline(time.Now().Add(10 * time.Second))
				if _, err := io.ReadFull(there, make([]byte, 1)); err != nil {
					t.Errorf("Read: %v", err)
				}
				if from.Context().Err() != nil || to.Context().Err() != nil {
					t.Errorf("ended: %v, %v", context.Cause(from.Context()), context.Cause(to.Context()))
				}
			})
		}
	}
}

// Dial fails at once if the kernel refuses the first datagram.
func TestDialWithoutARouteFailsAtOnce(t *testing.T) {
	_, trusting := transporttest.Certificates(t)
	ep, r := refusingEndpoint(t)
	defer ep.release(0)
	errno := syscall.ENETUNREACH
	r.err.Store(&errno)
	addr := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}
	if _, err := ep.transport.Dial(t.Context(), addr, clientTLS(trusting, addr.String()), config(nil)); err == nil || !strings.Contains(err.Error(), errno.Error()) {
		t.Errorf("Dial: %v", err)
	}
}
