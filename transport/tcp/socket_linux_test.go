package tcp_test

import (
	"math"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/tcp"
)

// Both ends' sockets have the options that the Transport sets, and no others.
func TestSocketOptions(t *testing.T) {
	on := tcp.Transport{
		KeepAlive:   net.KeepAliveConfig{Enable: true, Idle: 40 * time.Second},
		UserTimeout: 90 * time.Second,
	}
	for _, test := range []struct {
		name                         string
		transport                    tcp.Transport
		keepAlive, idle, userTimeout int
	}{
		{"Default", tcp.Transport{}, 0, 0, 0},
		{"Set", on, 1, 40, 90_000},
		{"Rounded", tcp.Transport{UserTimeout: time.Microsecond}, 0, 0, 1},
		{"AsLongAsItCanBe", tcp.Transport{UserTimeout: 60 * 24 * time.Hour}, 0, 0, math.MaxInt32},
		{"Parked", tcp.Transport{Parked: true}, 0, 0, 0},
		{"ParkedSet", tcp.Transport{Parked: true, KeepAlive: on.KeepAlive, UserTimeout: on.UserTimeout}, 1, 40, 90_000},
	} {
		t.Run(test.name, func(t *testing.T) {
			opened, accepted := connect(t, test.transport, listen(t, test.transport))
			for name, st := range map[string]transport.Stream{"dialled": opened, "accepted": accepted} {
				if got := option(t, st, unix.SOL_SOCKET, unix.SO_KEEPALIVE); got != test.keepAlive {
					t.Errorf("%s: SO_KEEPALIVE %d, want %d", name, got, test.keepAlive)
				}
				if got := option(t, st, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE); test.idle != 0 && got != test.idle {
					t.Errorf("%s: TCP_KEEPIDLE %d, want %d", name, got, test.idle)
				}
				if got := option(t, st, unix.IPPROTO_TCP, unix.TCP_NODELAY); got != 1 {
					t.Errorf("%s: TCP_NODELAY %d, want 1", name, got)
				}
				if got := option(t, st, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); got != test.userTimeout {
					t.Errorf("%s: TCP_USER_TIMEOUT %d, want %d", name, got, test.userTimeout)
				}
			}
		})
	}
}

func option(t *testing.T, st transport.Stream, level, name int) (value int) {
	t.Helper()
	raw, err := kernel(st).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, name) })
	if err != nil {
		t.Fatal(err)
	}
	return value
}
