package transport_test

import (
	"net"
	"testing"
	"time"

	"github.com/livenet/livenet/transport"
)

type impatient struct{ transport.Listener }

func (impatient) Patience() time.Duration { return time.Second }

type wrapped struct{ inner any }

func (w wrapped) Unwrap() any { return w.inner }

func TestAs(t *testing.T) {
	for name, test := range map[string]struct {
		x    any
		want bool
	}{
		"itself":          {impatient{}, true},
		"wrapped twice":   {wrapped{wrapped{impatient{}}}, true},
		"wraps nothing":   {wrapped{nil}, false},
		"something else":  {wrapped{1}, false},
		"nothing":         {nil, false},
		"a plain session": {transport.Single(&net.TCPConn{}), false},
	} {
		if _, ok := transport.As[transport.Impatient](test.x); ok != test.want {
			t.Errorf("%s: %v", name, ok)
		}
	}
}
