//go:build !linux

package quic

import "net"

// stamped is conn: this system is not asked when its datagrams arrived.
func stamped(conn *net.UDPConn, _ *arrivals) net.PacketConn { return conn }
