package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/livenet/livenet/examples/servers/internal/peertest"
	"github.com/livenet/livenet/liveness"
)

func TestMain(m *testing.M) { peertest.Main(m) }

const timeout = peertest.Timeout

type fixture struct {
	*liveness.Listener
	ends   <-chan *liveness.Error
	client *http.Client
	conns  chan net.Conn // the client's
}

func start(t *testing.T, change func(*liveness.Config)) *fixture {
	t.Parallel()
	f := &fixture{conns: make(chan net.Conn, 4)}
	cfg := config(timeout)
	change(cfg)
	f.Listener, f.ends = peertest.Listen(t, cfg)
	served := make(chan error, 1)
	srv := newServer(f.Listener)
	go func() { served <- srv.Serve(f.Listener) }()
	tr := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err == nil {
			f.conns <- conn
		}
		return conn, err
	}}
	f.client = &http.Client{Transport: tr}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		srv.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	return f
}

func unchanged(*liveness.Config) {}

// listen receives the first message.
func (f *fixture) listen(t *testing.T, every time.Duration) *websocket.Conn {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), fmt.Sprintf("ws://%v/time?every=%v", f.Addr(), every), &websocket.DialOptions{HTTPClient: f.client})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.CloseNow() })
	if _, _, err := ws.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	return ws
}

// Between two messages nothing is sent in either direction for longer than the timeout.
func TestAListenerThatOnlyReceivesOutlastsTheTimeout(t *testing.T) {
	f := start(t, unchanged)
	if _, _, err := f.listen(t, timeout+time.Second).Read(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAClientThatVanishedIsEnded(t *testing.T) {
	f := start(t, unchanged)
	f.listen(t, time.Hour)
	peertest.Vanish(t, <-f.conns)
	peertest.End(t, f.ends, liveness.Silent, timeout-time.Second, time.Now())
}

func TestACloseFrameSaysWhy(t *testing.T) {
	t.Parallel()
	ages := func(cfg *liveness.Config) { cfg.Policy = liveness.MaxAge(time.Second, 0) }
	tests := []struct {
		reason liveness.Reason
		change func(*liveness.Config)
		end    func(*testing.T, *fixture)
	}{
		{liveness.Aged, ages, func(*testing.T, *fixture) {}},
		{liveness.Draining, unchanged, func(t *testing.T, f *fixture) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			f.Shutdown(ctx)
		}},
		{liveness.Kicked, unchanged, func(t *testing.T, f *fixture) {
			id := peertest.One(t, f.Listener).ID()
			req, err := http.NewRequest("DELETE", fmt.Sprintf("http://%v/sessions/%d", f.Addr(), id), nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := f.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}},
	}
	for _, tt := range tests {
		t.Run(tt.reason.String(), func(t *testing.T) {
			f := start(t, tt.change)
			ws := f.listen(t, time.Hour)
			got := make(chan error, 1)
			go func() {
				_, _, err := ws.Read(t.Context())
				got <- err
			}()
			tt.end(t, f)
			var closed websocket.CloseError
			if err := <-got; !errors.As(err, &closed) || closed.Code != websocket.StatusGoingAway || closed.Reason != tt.reason.String() {
				t.Error(err)
			}
			peertest.End(t, f.ends, tt.reason, 0, time.Now())
		})
	}
}
