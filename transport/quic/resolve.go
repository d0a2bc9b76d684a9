package quic

import (
	"context"
	"net"
)

// network is the name that this package's errors carry.
const network = "quic"

// resolve is net.ResolveUDPAddr with a context: of several addresses it takes
// the first IPv4 one, as package net does for UDP.
func resolve(ctx context.Context, addr string) (*net.UDPAddr, error) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "udp", service)
	if err != nil {
		return nil, err
	}
	if host == "" {
		return &net.UDPAddr{Port: port}, nil
	}
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, host) // literals included
	if err != nil {
		return nil, err
	}
	best := ips[0] // an answer without addresses is an error above
	for _, ip := range ips {
		if ip.IP.To4() != nil {
			best = ip
			break
		}
	}
	return &net.UDPAddr{IP: best.IP, Zone: best.Zone, Port: port}, nil
}
