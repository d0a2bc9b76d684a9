package liveness_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/tcp"
	"github.com/livenet/livenet/transport/transporttest"
	"github.com/livenet/livenet/transport/yamux"
)

// BenchmarkIdleSession reports the resident memory that a server takes for each
// idle session, of kinds that `livenet bench hold` does not hold: parked under TLS,
// and of yamux without a stream. The peers are sockets that the kernel keeps for
// nobody. There are as many sessions as the benchmark is to be run times:
//
//	go test -run - -bench IdleSession -benchtime 4000x ./liveness
func BenchmarkIdleSession(b *testing.B) {
	serverTLS, clientTLS := transporttest.Certificates(b)
	clientTLS.ServerName = "127.0.0.1"
	for _, kind := range []struct {
		name       string
		server     transport.Transport
		client     *tls.Config
		goroutines int // that a session holds
	}{
		{"tls", tcp.Transport{Parked: true, TLS: serverTLS}, clientTLS, 0},
		{"yamux", yamux.Transport{Inner: tcp.Transport{}}, nil, 2},
	} {
		b.Run(kind.name, func(b *testing.B) {
			l, err := kind.server.Listen(b.Context(), "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			srv := &Server{
				Config: Config{Policy: Sliding(time.Hour), Opening: time.Hour, Engine: new(Engine)},
				Codec:  codec.Raw,
				Data:   func(*Conn, []byte) error { return nil },
			}
			served := make(chan error, 1)
			go func() { served <- srv.Serve(context.Background(), l) }()
			defer func() {
				srv.Close()
				<-served
			}()
			hold(b, srv, l.Addr(), kind.client, b.N) // for what a server has whoever is there
			idle := runtime.NumGoroutine()
			before := residentMemory(b)
			hold(b, srv, l.Addr(), kind.client, b.N)
			for end := time.Now().Add(10 * sec); runtime.NumGoroutine() > idle+kind.goroutines*b.N; time.Sleep(ms) {
				if time.Now().After(end) {
					b.Fatalf("%d goroutines more for %d sessions", runtime.NumGoroutine()-idle, b.N)
				}
			}
			b.ReportMetric(float64(residentMemory(b)-before)/float64(b.N), "B/session")
			b.ReportMetric(0, "ns/op") // it isn't a matter of time
		})
	}
}

// hold opens n more sessions, and leaves them to the kernel until b ends.
func hold(b *testing.B, srv *Server, addr net.Addr, config *tls.Config, n int) {
	b.Helper()
	want := srv.Counts(KindSession).Live + uint64(n)
	for range n {
		fd, err := dialKept(addr.(*net.TCPAddr), config)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { syscall.Close(fd) })
	}
	for srv.Counts(KindSession).Live < want {
		time.Sleep(time.Millisecond)
	}
}

// dialKept connects, and keeps nothing but the descriptor.
func dialKept(addr *net.TCPAddr, config *tls.Config) (fd int, err error) {
	if config == nil {
		fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			return 0, err
		}
		return fd, syscall.Connect(fd, &syscall.SockaddrInet4{Port: addr.Port, Addr: [4]byte(addr.IP.To4())})
	}
	conn, err := net.DialTCP("tcp", nil, addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := tls.Client(conn, config).Handshake(); err != nil {
		return 0, err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var dupErr error
	err = raw.Control(func(old uintptr) { fd, dupErr = syscall.Dup(int(old)) })
	return fd, cmp.Or(err, dupErr)
}

// residentMemory is this process's, in bytes, after a collection.
func residentMemory(b *testing.B) int64 {
	b.Helper()
	debug.FreeOSMemory()
	rollup, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		b.Skip(err)
	}
	for line := range strings.Lines(string(rollup)) {
		if f := strings.Fields(line); f[0] == "Rss:" {
			kb, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			return kb << 10
		}
	}
	b.Skip("smaps_rollup has no Rss")
	return 0
}
