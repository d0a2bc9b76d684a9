package quic_test

import (
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"
	"go.uber.org/goleak"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/quic"
	"github.com/livenet/livenet/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	serverTLS, clientTLS := transporttest.Certificates(t)
	config := &quicgo.Config{KeepAlivePeriod: 200 * time.Millisecond} // an idle peer answers
	transporttest.Run(t, transporttest.Config{
		New: func(t *testing.T) (server, client transport.Transport, addr string) {
			return quic.Transport{TLS: serverTLS, Config: config}, quic.Transport{TLS: clientTLS, Config: config}, "127.0.0.1:0"
		},
		Multiplexes:  true,
		Resets:       true,
		SessionCodes: true,
		StreamCodes:  true,
	})
}
