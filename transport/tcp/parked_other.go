//go:build !linux

package tcp

import (
	"net"

	"github.com/livenet/livenet/transport"
)

// park changes nothing: this system has no sockets that park.
func park(l *net.TCPListener, _ net.KeepAliveConfig) (transport.DeadlineListener, error) {
	return l, nil
}
