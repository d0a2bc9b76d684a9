package transport_test

import (
	"net"
	"testing"
	"time"

	"github.com/livenet/livenet/transport"
)

type idleTimeouter struct{ transport.Listener }

func (idleTimeouter) IdleTimeout() time.Duration { return time.Second }

type wrapped struct{ inner any }

func (w wrapped) Unwrap() any { return w.inner }

func TestAsFindsWrappedInterfaces(t *testing.T) {
	for name, test := range map[string]struct {
		x    any
		want bool
	}{
		"itself":          {idleTimeouter{}, true},
		"wrapped twice":   {wrapped{wrapped{idleTimeouter{}}}, true},
		"wraps nothing":   {wrapped{nil}, false},
		"something else":  {wrapped{1}, false},
		"nothing":         {nil, false},
		"a plain session": {transport.Single(&net.TCPConn{}), false},
	} {
		if _, ok := transport.As[transport.IdleTimeouter](test.x); ok != test.want {
			t.Errorf("%s: %v", name, ok)
		}
	}
}
