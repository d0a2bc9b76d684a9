package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"

	"github.com/livenet/livenet/codec"
)

// The PROXY protocol, versions 1 and 2:
// https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt

// proxyHeader is the header that tells of a connection from client to local.
func proxyHeader(version byte, client, local net.Addr) []byte {
	b, err := proxyproto.HeaderProxyFromAddrs(version, asTCP(client), asTCP(local)).Format()
	if err != nil {
		b, _ = (&proxyproto.Header{Version: version, Command: proxyproto.LOCAL}).Format()
	}
	return b
}

// asTCP makes TCP of QUIC's address: what is forwarded is a stream.
func asTCP(a net.Addr) net.Addr {
	if u, ok := a.(*net.UDPAddr); ok {
		return &net.TCPAddr{IP: u.IP, Port: u.Port, Zone: u.Zone}
	}
	return a
}

// Preamble returns a function for tcp.Transport.Preamble: it reads the PROXY header of
// connections that come from one of the networks, which must begin with one. Others
// have none: what they send is data.
func Preamble(trusted []netip.Prefix) func(net.Conn) (net.Addr, error) {
	return func(conn net.Conn) (net.Addr, error) {
		if !within(conn.RemoteAddr(), trusted) {
			return nil, nil
		}
		return readProxyHeader(conn)
	}
}

func within(a net.Addr, list []netip.Prefix) bool {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return false
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	for _, p := range list {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

const (
	// Section 2: "a receiver may stop reading at the first 12 bytes"; no header is shorter.
	signature = 12

	headerV1 = 107     // the longest, section 2.1
	lengthV2 = 14      // where the two bytes of the length are, section 2.2
	fixedV2  = 16      // what comes before the addresses
	mostV2   = 4 << 10 // addresses and TLVs that are taken; real ones are a few hundred bytes
)

// readProxyHeader reads a header, and not a byte more: what follows may be TLS. It
// returns the client's address, or nil if the header has none, as a proxy's health check.
func readProxyHeader(r io.Reader) (net.Addr, error) {
	b := make([]byte, signature, headerV1)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	var err error
	switch {
	case bytes.Equal(b, proxyproto.SIGV2):
		b, err = readV2(r, b)
	case bytes.HasPrefix(b, proxyproto.SIGV1):
		b, err = readV1(r, b)
	default:
		return nil, badHeader("there is none")
	}
	if err != nil {
		return nil, err
	}
	h, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(b)))
	if err != nil {
		return nil, badHeader(err.Error())
	}
	if client, _, ok := h.TCPAddrs(); ok && h.Command.IsProxy() {
		return client, nil
	}
	return nil, nil
}

// readV1 reads up to the end of the line, by the byte: there is no other way not to
// read on.
func readV1(r io.Reader, b []byte) ([]byte, error) {
	for b[len(b)-1] != '\n' {
		if len(b) == headerV1 {
			return nil, badHeader("its line is too long")
		}
		b = b[:len(b)+1]
		if _, err := io.ReadFull(r, b[len(b)-1:]); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func readV2(r io.Reader, b []byte) ([]byte, error) {
	b = b[:fixedV2]
	if _, err := io.ReadFull(r, b[signature:]); err != nil {
		return nil, err
	}
	rest := int(b[lengthV2])<<8 | int(b[lengthV2+1])
	if rest > mostV2 {
		return nil, badHeader(fmt.Sprintf("it has %d bytes", rest))
	}
	b = append(b, make([]byte, rest)...)
	_, err := io.ReadFull(r, b[fixedV2:])
	return b, err
}

// badHeader is an error that ends a connection for protocol-error.
func badHeader(text string) error { return &codec.Error{Text: "PROXY header: " + text} }
