package gateway

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/livenet/livenet/codec"
)

// What is written is read, to the last byte and not beyond, however it is cut.
func TestProxyHeaderThereAndBack(t *testing.T) {
	for _, version := range []byte{1, 2} {
		for _, client := range []net.Addr{
			&net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1234},
			&net.TCPAddr{IP: net.ParseIP("2001:db8::7"), Port: 1234},
			&net.UDPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1234},
		} {
			local := &net.TCPAddr{IP: net.IPv6loopback, Port: 443}
			if strings.Contains(client.String(), "192") {
				local.IP = net.IPv4(127, 0, 0, 1)
			}
			header := proxyHeader(version, client, local)
			r := bytes.NewReader(append(header, "rest"...))
			got, err := readProxyHeader(iotestOneByte{r})
			if err != nil || got == nil || got.String() != client.String() || got.Network() != "tcp" {
				t.Errorf("v%d: %v came back as %v, %v", version, client, got, err)
			}
			if rest, _ := io.ReadAll(r); string(rest) != "rest" {
				t.Errorf("v%d: it left %q", version, rest)
			}
		}
		if b := proxyHeader(version, &net.UnixAddr{Name: "@", Net: "unix"}, &net.TCPAddr{}); len(b) == 0 {
			t.Errorf("v%d: no header for an address that it has no words for", version)
		}
	}
}

type iotestOneByte struct{ r io.Reader }

func (o iotestOneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(1, len(p))]) }

func TestBadProxyHeader(t *testing.T) {
	for _, text := range []string{
		"GET / HTTP/1.0\r\n\r\n",
		"PROXY TCP4 nonsense\r\n",
		"PROXY TCP4 192.0.2.7 192.0.2.8 1234 443\n",
		"PROXY " + strings.Repeat("x", 200),
		"\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff" + strings.Repeat("x", 1<<16),
		"\r\n\r\n\x00\r\nQUIT\n\x31\x11\x00\x0c" + strings.Repeat("x", 12),
	} {
		_, err := readProxyHeader(strings.NewReader(text))
		if _, ok := errors.AsType[*codec.Error](err); !ok {
			t.Errorf("%.20q: %v", text, err)
		}
	}
	// A proxy's own health check tells of nobody.
	for _, text := range []string{"PROXY UNKNOWN\r\n", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"} {
		if a, err := readProxyHeader(strings.NewReader(text)); a != nil || err != nil {
			t.Errorf("%q: %v, %v", text, a, err)
		}
	}
	if _, err := readProxyHeader(strings.NewReader("PROXY TCP4 192.0.2.7")); !errors.Is(err, io.EOF) {
		t.Errorf("cut off: %v", err)
	}
}

func TestWithin(t *testing.T) {
	list := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	for ip, want := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "::1": true, "11.0.0.1": false, "::2": false} {
		if got := within(&net.TCPAddr{IP: net.ParseIP(ip)}, list); got != want {
			t.Errorf("%s: %v", ip, got)
		}
	}
}

func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 192.0.2.8 1234 443\r\nrest"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x08\x04\xd2\x01\xbb"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		a, err := readProxyHeader(r)
		if a != nil && err != nil {
			t.Errorf("%v and %v", a, err)
		}
		if taken := len(b) - r.Len(); taken > fixedV2+mostV2 {
			t.Errorf("it took %d bytes", taken)
		}
	})
}
