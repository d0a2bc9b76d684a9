package quic

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"net"
	"runtime"
	"slices"
	"testing"
)

// A flood sends Initial packets with a ClientHello from many addresses, each for a new
// connection, and never answers.
type flood struct {
	hello []byte
	n     uint64 // connections opened
	conns []*net.UDPConn
}

// newFlood prepares a flood of server.
func newFlood(t testing.TB, server net.Addr, addresses int) *flood {
	t.Helper()
	f := &flood{hello: clientHello(t)}
	for i := range addresses {
		conn, err := net.DialUDP("udp", &net.UDPAddr{IP: loopback(i)}, server.(*net.UDPAddr))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		f.conns = append(f.conns, conn)
	}
	return f
}

// loopback returns the i-th loopback address; some systems have only one.
func loopback(i int) net.IP {
	if runtime.GOOS != "linux" {
		return net.IPv4(127, 0, 0, 1)
	}
	return net.IPv4(127, 1, byte(i>>8), byte(i)+1)
}

// send opens n connections. Packets that the system drops are not sent again.
func (f *flood) send(t testing.TB, n int) {
	t.Helper()
	for range n {
		if _, err := f.conns[f.n%uint64(len(f.conns))].Write(f.initial(t)); err != nil {
			t.Fatal(err)
		}
	}
}

// floodID is the clients' connection ID.
var floodID = [8]byte{'n', 'o', 'b', 'o', 'd', 'y'}

// clientHello returns a ClientHello that this package's servers accept, in a CRYPTO frame.
func clientHello(t testing.TB) []byte {
	t.Helper()
	client := tls.QUICClient(&tls.QUICConfig{TLSConfig: &tls.Config{
		ServerName: "localhost", NextProtos: []string{ALPN}, MinVersion: tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.X25519}, // so that it fits in one packet
	}})
	defer client.Close()
	// RFC 9000, section 18.2: initial_source_connection_id alone can't be done without.
	client.SetTransportParameters(append([]byte{0x0f, byte(len(floodID))}, floodID[:]...))
	if err := client.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for {
		switch e := client.NextEvent(); e.Kind {
		case tls.QUICWriteData:
			frame := []byte{0x06, 0} // CRYPTO, from the beginning
			frame = binary.BigEndian.AppendUint16(frame, 0x4000|uint16(len(e.Data)))
			return append(frame, e.Data...)
		case tls.QUICNoEvent:
			t.Fatal("no ClientHello")
		}
	}
}

// initial is the first packet of the next connection (RFC 9000, section 17.2.2),
// protected as RFC 9001, section 5, has it.
func (f *flood) initial(t testing.TB) []byte {
	f.n++
	id := binary.BigEndian.AppendUint64(nil, f.n)
	const size, tag, pn = 1200, 16, 4
	p := []byte{0xc0 | pn - 1, 0, 0, 0, 1}                   // QUIC version 1
	p = append(append(p, byte(len(id))), id...)              // to
	p = append(append(p, byte(len(floodID))), floodID[:]...) // from
	p = append(p, 0)                                         // no token
	p = binary.BigEndian.AppendUint16(p, 0x4000|uint16(size-len(p)-2))
	p = binary.BigEndian.AppendUint32(p, 0) // the packet's number
	header := slices.Clone(p)
	payload := make([]byte, size-len(header)-tag) // the rest is PADDING
	copy(payload, f.hello)

	salt, _ := hex.DecodeString("38762cf7f55934b34d179ae6a4c80cadccbb7f0a")
	initial, err := hkdf.Extract(sha256.New, id, salt)
	if err != nil {
		t.Fatal(err)
	}
	client := expand(t, initial, "client in", 32)
	aead, err := cipher.NewGCM(block(t, expand(t, client, "quic key", 16)))
	if err != nil {
		t.Fatal(err)
	}
	p = aead.Seal(p, expand(t, client, "quic iv", 12), payload, header)
	mask := make([]byte, aes.BlockSize)
	block(t, expand(t, client, "quic hp", 16)).Encrypt(mask, p[len(header):])
	p[0] ^= mask[0] & 0x0f
	for i := range pn {
		p[len(header)-pn+i] ^= mask[1+i]
	}
	return p
}

func block(t testing.TB, key []byte) cipher.Block {
	b, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// expand is HKDF-Expand-Label of TLS 1.3 (RFC 8446, section 7.1).
func expand(t testing.TB, secret []byte, label string, n int) []byte {
	label = "tls13 " + label
	info := append([]byte{0, byte(n), byte(len(label))}, label...)
	key, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), n)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
