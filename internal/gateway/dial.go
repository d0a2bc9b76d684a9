package gateway

import (
	"context"
	"net"
	"time"

	"github.com/livenet/livenet/transport"
)

// dialTime is how long one dial may take.
const dialTime = 5 * time.Second

// A dialer is the transport by which a liveness.Client dials an upstream.
type dialer struct {
	address   Address
	keepAlive bool // the kernel's, where no policy judges
}

func (d dialer) Listen(context.Context, string) (transport.Listener, error) {
	panic("gateway: an upstream is dialled")
}

func (d dialer) Dial(ctx context.Context, _ string) (transport.Session, error) {
	conn, err := d.dial(ctx)
	if err != nil {
		return nil, err
	}
	return transport.Single(conn), nil
}

func (d dialer) dial(ctx context.Context) (net.Conn, error) {
	dial := net.Dialer{KeepAlive: -1, KeepAliveConfig: net.KeepAliveConfig{Enable: d.keepAlive}}
	dial.SetMultipathTCP(false) // what the kernel knows of a peer is per subflow there
	return dial.DialContext(ctx, d.address.Network, d.address.Addr)
}
