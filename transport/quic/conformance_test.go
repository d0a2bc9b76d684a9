package quic_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/quic"
	"github.com/livenet/livenet/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	serverTLS, clientTLS := transporttest.Certificates(t)
	transporttest.Run(t, transporttest.Config{
		New: func(t *testing.T) (server, client transport.Transport, addr string) {
			return quic.Transport{TLS: serverTLS}, quic.Transport{TLS: clientTLS}, "127.0.0.1:0"
		},
		Multiplexes:  true,
		Resets:       true,
		SessionCodes: true,
		StreamCodes:  true,
	})
}
