package quic

import (
	"context"
	"net"
)

// network is the Net of this package's errors.
const network = "quic"

// resolve returns the addresses of addr, at least one, in the resolver's order. If addr has
// no host, it returns one address without an IP.
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
		return nil, err // also if there are no addresses
	}
	addrs := make([]*net.UDPAddr, len(ips))
	for i, ip := range ips {
		addrs[i] = &net.UDPAddr{IP: ip.IP, Zone: ip.Zone, Port: port}
	}
	return addrs, nil
}

// listenAddr returns the address to listen on: the first IPv4 one, as in package net.
func listenAddr(addrs []*net.UDPAddr) *net.UDPAddr {
	for _, a := range addrs {
		if a.IP.To4() != nil {
			return a
		}
	}
	return addrs[0]
}

// dialAddr replaces an unspecified address by the loopback address, as package net does.
func dialAddr(a *net.UDPAddr) *net.UDPAddr {
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
