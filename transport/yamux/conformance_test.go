package yamux_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/tcp"
	"github.com/livenet/livenet/transport/transporttest"
	"github.com/livenet/livenet/transport/yamux"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	serverTLS, clientTLS := transporttest.Certificates(t)
	for name, inner := range map[string]struct{ server, client tcp.Transport }{
		"TCP": {},
		"TLS": {tcp.Transport{TLS: serverTLS}, tcp.Transport{TLS: clientTLS}},
	} {
		t.Run(name, func(t *testing.T) {
			transporttest.Run(t, transporttest.Config{
				New: func(t *testing.T) (server, client transport.Transport, addr string) {
					return yamux.Transport{Inner: inner.server}, yamux.Transport{Inner: inner.client}, "127.0.0.1:0"
				},
				Multiplexes: true,
				Resets:      true,
				StreamCodes: true,
			})
		})
	}
}
