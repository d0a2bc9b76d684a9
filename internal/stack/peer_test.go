package stack_test

import (
	"context"
	"crypto/tls"
	"io"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/livenet/livenet/internal/devtls"
	"github.com/livenet/livenet/internal/stack"
	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport/quic"
)

// Rule 9: a QUIC peer whose idle timeout is shorter than the policy's does not end the
// session before the policy does.
func TestRule9AShortQUICIdleTimeoutOfThePeerDoesNotPreemptThePolicy(t *testing.T) {
	if testing.Short() {
		t.Skip("quic-go takes no idle timeout below 5 s from its peer, so this takes longer")
	}
	t.Parallel()
	identity, roots, err := devtls.Ephemeral()
	if err != nil {
		t.Fatal(err)
	}
	const timeout, hasty = 5500 * time.Millisecond, 5 * time.Second
	server, err := stack.New("quic", &tls.Config{Certificates: []tls.Certificate{identity.Certificate}},
		stack.Limits{IdleTimeout: stack.IdleTimeout(timeout), Handshake: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	l, err := server.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ends := make(chan *liveness.Error, 1)
	srv := &liveness.Server{
		Config: liveness.Config{
			Policy: liveness.Fixed(timeout),
			Engine: new(liveness.Engine),
			Events: func(e liveness.Event) {
				if e.What == liveness.Closed && e.Kind == liveness.KindSession {
					ends <- e.End
				}
			},
		},
		Handler: func(_ context.Context, c *liveness.Conn) { io.Copy(io.Discard, c) },
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx, l) }()

	client := quic.Transport{TLS: &tls.Config{RootCAs: roots}, Config: &quicgo.Config{MaxIdleTimeout: hasty}}
	sess, err := client.Dial(ctx, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	st, err := sess.OpenStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	st.Write([]byte("hello"))
	if e := <-ends; e.Reason != liveness.FixedDeadline {
		t.Errorf("ended %v", e)
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
