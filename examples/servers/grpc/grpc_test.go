package main

import (
	"context"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/livenet/livenet/examples/servers/internal/peertest"
	"github.com/livenet/livenet/liveness"
)

func TestMain(m *testing.M) { peertest.Main(m) }

const timeout = peertest.Timeout

type fixture struct {
	*liveness.Listener
	ends   <-chan *liveness.Error
	health *health.Server
	client grpc_health_v1.HealthClient
	conns  chan net.Conn // the client's
	stop   func()
}

func start(t *testing.T) *fixture {
	t.Parallel()
	f := &fixture{health: health.NewServer(), conns: make(chan net.Conn, 4)}
	cfg := config(timeout)
	cfg.Opening = timeout / 2
	f.Listener, f.ends = peertest.Listen(t, cfg)
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- serve(ctx, newServer(f.health), f.Listener) }()
	f.stop = func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
	client, err := grpc.NewClient(f.Addr().String(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
			if err == nil {
				f.conns <- conn
			}
			return conn, err
		}))
	if err != nil {
		t.Fatal(err)
	}
	f.client = grpc_health_v1.NewHealthClient(client)
	t.Cleanup(func() {
		client.Close()
		f.stop()
	})
	return f
}

func (f *fixture) watch(t *testing.T) grpc.ServerStreamingClient[grpc_health_v1.HealthCheckResponse] {
	t.Helper()
	w, err := f.client.Watch(t.Context(), new(grpc_health_v1.HealthCheckRequest))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Recv(); err != nil { // the state now
		t.Fatal(err)
	}
	return w
}

func TestACall(t *testing.T) {
	f := start(t)
	r, err := f.client.Check(t.Context(), new(grpc_health_v1.HealthCheckRequest))
	if err != nil || r.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Error(r, err)
	}
}

// The client only receives, and nothing is sent to it either.
func TestAWatchOutlastsSeveralTimeouts(t *testing.T) {
	f := start(t)
	w := f.watch(t)
	time.AfterFunc(5*timeout/2, func() { f.health.SetServingStatus("", grpc_health_v1.HealthCheckResponse_NOT_SERVING) })
	if r, err := w.Recv(); err != nil || r.Status != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Error(r, err)
	}
}

func TestAClientThatVanishedIsEnded(t *testing.T) {
	f := start(t)
	f.watch(t)
	peertest.Vanish(t, <-f.conns)
	peertest.End(t, f.ends, liveness.Silent, timeout-time.Second, time.Now())
}

func TestAClientThatNeverSpeaksIsEnded(t *testing.T) {
	f := start(t)
	conn, err := net.Dial("tcp", f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	peertest.End(t, f.ends, liveness.NoHello, timeout/2, time.Now())
}

func TestAGracefulStop(t *testing.T) {
	f := start(t)
	w := f.watch(t)
	began := time.Now()
	f.stop() // waits for the watch in vain
	f.stop = func() {}
	if _, err := w.Recv(); status.Code(err) != codes.Unavailable {
		t.Error(err)
	}
	peertest.End(t, f.ends, liveness.Draining, 5*time.Second, began)
}

func TestSessionsAreListedAndEnded(t *testing.T) {
	f := start(t)
	w := f.watch(t)
	admin := sessions(f.Listener)
	list := httptest.NewRecorder()
	admin.ServeHTTP(list, httptest.NewRequest("GET", "/", nil))
	id, _, _ := strings.Cut(list.Body.String(), " ")
	admin.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("DELETE", "/"+id, nil))
	if _, err := w.Recv(); status.Code(err) != codes.Unavailable {
		t.Error(err)
	}
	peertest.End(t, f.ends, liveness.Kicked, 0, time.Now())
}
