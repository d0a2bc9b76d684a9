package quic

import (
	"context"
	"net"
)

// network is the name that this package's errors carry.
const network = "quic"

// resolve returns the addresses of addr, at least one, in the system's order. Without a
// host it is one without an IP.
func resolve(ctx context.Context, addr string) ([]*net.UDPAddr, error) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "udp", service)
	if err != nil {
		return nil, err
	}
	if host == "" {
		return []*net.UDPAddr{{Port: port}}, nil
	}
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, host) // literals included
	if err != nil {
		return nil, err // so is an answer without addresses
	}
	addrs := make([]*net.UDPAddr, len(ips))
	for i, ip := range ips {
		addrs[i] = &net.UDPAddr{IP: ip.IP, Zone: ip.Zone, Port: port}
	}
	return addrs, nil
}

// toListen returns the one of addresses to listen at: the first IPv4 one, as in package
// net.
func toListen(addrs []*net.UDPAddr) *net.UDPAddr {
	for _, a := range addrs {
		if a.IP.To4() != nil {
			return a
		}
	}
	return addrs[0]
}

// toDial has an address that stands for all of this machine's mean this machine, as in
// package net.
func toDial(a *net.UDPAddr) *net.UDPAddr {
	if len(a.IP) > 0 && !a.IP.IsUnspecified() {
		return a
	}
	local := *a
	local.IP = net.IPv4(127, 0, 0, 1)
	if len(a.IP) == net.IPv6len && a.IP.To4() == nil {
		local.IP = net.IPv6loopback
	}
	return &local
}
