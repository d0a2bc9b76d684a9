package main

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport/transporttest"
)

// A client that only receives, for several timeouts, is alive by what its kernel
// acknowledges. Where bytes are what counts it is cut off, unless it speaks HTTP/2 and
// makes room for more.
func TestClientThatOnlyReceives(t *testing.T) {
	const timeout, lasts = liveness.LeastAckTimeout, 8 * time.Second
	serverTLS, clientTLS := transporttest.Certificates(t)
	for _, tt := range []struct {
		name     string
		http2    bool
		kind     string
		evidence codec.Evidence
		cut      bool
	}{
		{"HTTP1/Download", false, "download", 0, false},
		{"HTTP1/Events", false, "events", 0, false},
		{"HTTP2/Download", true, "download", 0, false},
		{"HTTP2/Events", true, "events", 0, false},
		{"HTTP1/Download/Bytes", false, "download", codec.Bytes, true},
		{"HTTP1/Events/Bytes", false, "events", codec.Bytes, true},
		{"HTTP2/Download/Bytes", true, "download", codec.Bytes, false},
		{"HTTP2/Events/Bytes", true, "events", codec.Bytes, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inner, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ends := make(chan *liveness.Error, 1)
			l := liveness.NewListener(inner, &liveness.Config{
				Policy:   liveness.Sliding(timeout),
				Evidence: tt.evidence,
				Events: func(e liveness.Event) {
					if e.What == liveness.Closed {
						ends <- e.End
					}
				},
			})
			srv := newServer(timeout)
			served := make(chan error, 1)
			url := "http://" + inner.Addr().String()
			transport := new(http.Transport)
			if tt.http2 {
				url = "https://" + inner.Addr().String()
				transport.TLSClientConfig, transport.ForceAttemptHTTP2 = clientTLS.Clone(), true
				srv.TLSConfig = &tls.Config{Certificates: serverTLS.Certificates}
				go func() { served <- srv.ServeTLS(l, "", "") }()
			} else {
				go func() { served <- srv.Serve(l) }()
			}
			defer func() {
				transport.CloseIdleConnections()
				srv.Close()
				if err := <-served; !errors.Is(err, http.ErrServerClosed) {
					t.Error(err)
				}
			}()

			resp, err := (&http.Client{Transport: transport}).Get(url + "/" + tt.kind + "?for=" + lasts.String())
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if (resp.ProtoMajor == 2) != tt.http2 {
				t.Errorf("it is %s", resp.Proto)
			}
			body, err := io.ReadAll(resp.Body)
			if whole := err == nil && strings.HasSuffix(string(body), "done\n\n"); whole == tt.cut {
				t.Errorf("%d bytes arrived, then %v", len(body), err)
			}
			if tt.cut {
				if end := <-ends; end.Reason != liveness.Silent || end.Silence < timeout {
					t.Errorf("ended %v", end)
				}
			}
		})
	}
}
