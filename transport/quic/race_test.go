package quic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/livenet/livenet/transport/transporttest"
)

func addresses(ips ...string) []*net.UDPAddr {
	var list []*net.UDPAddr
	for _, ip := range ips {
		list = append(list, &net.UDPAddr{IP: net.ParseIP(ip), Port: 1})
	}
	return list
}

// Address families alternate, in the resolver's order (RFC 8305, section 4).
func TestInterleave(t *testing.T) {
	for _, test := range []struct{ given, want string }{
		{"::1", "::1"},
		{"::1 127.0.0.1", "::1 127.0.0.1"},
		{"192.0.2.1 192.0.2.2 ::1 ::2 ::3", "192.0.2.1 ::1 192.0.2.2 ::2 ::3"},
		{"::1 ::2 192.0.2.1", "::1 192.0.2.1 ::2"},
	} {
		var got []string
		for _, a := range interleave(addresses(strings.Fields(test.given)...)) {
			got = append(got, a.IP.String())
		}
		if !slices.Equal(got, strings.Fields(test.want)) {
			t.Errorf("%s: %v", test.given, got)
		}
	}
}

// The next address is tried when one fails, or 250 ms after the last (RFC 8305, section 5).
// The first that succeeds cancels the others.
func TestRace(t *testing.T) {
	const never = time.Hour
	for _, test := range []struct {
		name  string
		takes []time.Duration // of each address; below 0: after that much it fails
		want  string          // when each dial began, and the result
	}{
		{"one", []time.Duration{time.Second}, "0@0s; won 0 at 1s"},
		{"dead first", []time.Duration{never, 10 * time.Millisecond, 0}, "0@0s 1@250ms; won 1 at 260ms"},
		{"refused first", []time.Duration{-10 * time.Millisecond, 10 * time.Millisecond}, "0@0s 1@10ms; won 1 at 20ms"},
		{"slow first", []time.Duration{300 * time.Millisecond, 100 * time.Millisecond}, "0@0s 1@250ms; won 0 at 300ms"},
		{"all fail", []time.Duration{-time.Second, -time.Second}, "0@0s 1@250ms; 0 failed; 1 failed at 1.25s"},
		{"none in time", []time.Duration{never, never}, "0@0s 1@250ms; 0: context deadline exceeded; 1: context deadline exceeded at 5s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				began := time.Now()
				var mu sync.Mutex
				var starts []string
				conns := make([]quicgo.Conn, len(test.takes))
				addrs := make([]*net.UDPAddr, len(test.takes))
				for i := range addrs {
					addrs[i] = &net.UDPAddr{Port: i}
				}
				conn, err := race(ctx, addrs, func(ctx context.Context, a *net.UDPAddr) (*quicgo.Conn, error) {
					mu.Lock()
					starts = append(starts, fmt.Sprintf("%d@%v", a.Port, time.Since(began)))
					mu.Unlock()
					select {
					case <-time.After(test.takes[a.Port].Abs()):
					case <-ctx.Done():
						return nil, fmt.Errorf("%d: %w", a.Port, ctx.Err())
					}
					if test.takes[a.Port] < 0 {
						return nil, fmt.Errorf("%d failed", a.Port)
					}
					return &conns[a.Port], nil
				})
				got := strings.Join(starts, " ") + "; "
				if err != nil {
					texts := strings.Split(err.Error(), "; ")
					slices.Sort(texts) // dials of the same instant
					got += strings.Join(texts, "; ")
				} else {
					for i := range conns {
						if conn == &conns[i] {
							got += fmt.Sprintf("won %d", i)
						}
					}
				}
				if got += fmt.Sprintf(" at %v", time.Since(began)); got != test.want {
					t.Errorf("got  %s\nwant %s", got, test.want)
				}
			})
		})
	}
}

// Dial reaches a server at any of a name's addresses, even if the first does not answer or
// has no route.
func TestDialTriesEveryAddress(t *testing.T) {
	serverTLS, clientTLS := transporttest.Certificates(t)
	mute, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := Transport{TLS: serverTLS}.Listen(t.Context(), at)
		if err != nil && at == "[::1]:0" {
			t.Skip("no IPv6 here: ", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		live := l.Addr().(*net.UDPAddr)
		for _, dead := range []*net.UDPAddr{
			mute.LocalAddr().(*net.UDPAddr),
			{IP: net.ParseIP("2001:db8::1"), Port: live.Port},
			{IP: net.IPv4(240, 0, 0, 1), Port: live.Port},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			s, err := Transport{TLS: clientTLS}.dial(ctx, "localhost:1", []*net.UDPAddr{dead, live})
			if err != nil {
				t.Errorf("%v, and then %v: %v", dead, live, err)
				continue
			}
			if s.RemoteAddr().String() != live.String() {
				t.Errorf("reached %v", s.RemoteAddr())
			}
			s.Close(0, "")
		}
	}
}

// If all addresses fail, the error names all of them in one line.
func TestDialErrorNamesEveryAddress(t *testing.T) {
	_, clientTLS := transporttest.Certificates(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Transport{TLS: clientTLS}.dial(ctx, "localhost:1", addresses("127.0.0.1"))
	if op, ok := errors.AsType[*net.OpError](err); !ok || op.Addr.String() != "127.0.0.1:1" || !errors.Is(err, context.Canceled) {
		t.Errorf("one: %v", err)
	}
	if got := (attemptErrors{errors.New("a"), context.DeadlineExceeded}); got.Error() != "a; context deadline exceeded" || !errors.Is(got, context.DeadlineExceeded) || !got.Timeout() {
		t.Errorf("several: %v", got)
	}
}

// An address with a zone and an unspecified address can be dialled, and have a server name
// to verify.
func TestDialUnspecifiedAndZonedAddresses(t *testing.T) {
	for host, want := range map[string]string{"[::1%1]:1": "::1", "[::1]:1": "::1", ":1": "localhost", "example.net:1": "example.net"} {
		if got := clientTLS(nil, host).ServerName; got != want {
			t.Errorf("%s is verified as %q", host, got)
		}
	}
	for given, want := range map[string]string{"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1", "192.0.2.1": "192.0.2.1"} {
		if got := dialAddr(&net.UDPAddr{IP: net.ParseIP(given)}).IP.String(); got != want {
			t.Errorf("%q is dialled as %s", given, got)
		}
	}
}
