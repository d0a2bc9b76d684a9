//go:build !linux

package tcp

import "net"

// park changes nothing: this system has no sockets that park.
func park(l *net.TCPListener, _ net.KeepAliveConfig) (net.Listener, error) {
	return l, nil
}
