package transporttest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemory(t *testing.T) {
	transporttest.Run(t, transporttest.Config{
		New: func(t *testing.T) (server, client transport.Transport, addr string) {
			m := new(transporttest.Memory)
			return m, m, "host:0"
		},
		Multiplexes:  true,
		Resets:       true,
		SessionCodes: true,
		StreamCodes:  true,
		Cut:          func(client, _ transport.Session) { transporttest.Cut(client) },
	})
}

// Deadlines are exact to the nanosecond, also if they are moved during the call.
func TestMemoryDeadline(t *testing.T) {
	for _, op := range []struct {
		name string
		call func(transport.Stream) error
		set  func(transport.Stream, time.Time) error
	}{
		{"Read", readOne, transport.Stream.SetReadDeadline},
		{"Write", fill, transport.Stream.SetWriteDeadline},
	} {
		for _, test := range []struct {
			name         string
			first, moved time.Duration // from the start; moved after a second
			want         time.Duration
		}{
			{"Kept", time.Hour, time.Hour, time.Hour},
			{"Later", time.Hour, 2 * time.Hour, 2 * time.Hour},
			{"Sooner", time.Hour, time.Minute, time.Minute},
			{"Past", time.Hour, -time.Hour, time.Second},
		} {
			t.Run(op.name+"/"+test.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					_, _, st, _ := memoryPair(t, new(transporttest.Memory))
					start := time.Now()
					op.set(st, start.Add(test.first))
					time.AfterFunc(time.Second, func() { op.set(st, start.Add(test.moved)) })
					err := op.call(st)
					took := time.Since(start)
					if netErr, ok := err.(net.Error); !ok || !netErr.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("error %v, want a timeout", err)
					}
					if took != test.want {
						t.Errorf("took %v, want %v", took, test.want)
					}
				})
			})
		}
	}
}

// After Cut what had arrived can be read. Nothing else arrives: no byte, no end of a stream,
// no new stream, no end of the session.
func TestCutIsolatesBothEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const buffer = 1 << 10
		client, server, opened, accepted := memoryPair(t, &transporttest.Memory{Buffer: buffer})
		io.WriteString(opened, "arrived")
		transporttest.Cut(server)

		n, err := opened.Write(make([]byte, buffer))
		if n != buffer || err != nil {
			t.Errorf("Write into the void: %d, %v", n, err)
		}
		opened.SetWriteDeadline(time.Now().Add(time.Hour))
		if n, err := opened.Write([]byte{0}); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write into the void, which is full: %d, %v", n, err)
		}
		opened.CloseWrite()
		opened.Reset(1)
		if _, err := client.OpenStream(t.Context()); err != nil {
			t.Errorf("OpenStream: %v", err)
		}
		client.Close(1, "gone")

		got := make([]byte, 100)
		if n, _ := accepted.Read(got); string(got[:n]) != "arrived" {
			t.Errorf("read %q", got[:n])
		}
		accepted.SetReadDeadline(time.Now().Add(time.Hour))
		if _, err := accepted.Read(got); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := server.AcceptStream(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("AcceptStream: %v", err)
		}
		if err := context.Cause(server.Context()); err != nil {
			t.Errorf("the server heard of the client's end: %v", err)
		}
		server.Close(2, "silent")
		if _, err := accepted.Read(got); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read after Close: %v", err)
		}
	})
}

func TestMemoryAddresses(t *testing.T) {
	ctx, m := t.Context(), new(transporttest.Memory)
	if _, err := m.Dial(ctx, "a name"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Dial without a listener: %v", err)
	}
	l, err := m.Listen(ctx, "a name")
	if err != nil || l.Addr().String() != "a name" {
		t.Fatalf("Listen: %v, %v", l, err)
	}
	if _, err := m.Listen(ctx, "a name"); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("Listen where someone listens: %v", err)
	}
	l.Close()
	if l, err = m.Listen(ctx, "a name"); err != nil {
		t.Fatalf("Listen where someone listened: %v", err)
	}
	l.Close()

	one, err := m.Listen(ctx, "host:0")
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	two, err := m.Listen(ctx, "host:0")
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	host, port, err := net.SplitHostPort(one.Addr().String())
	if n, _ := strconv.Atoi(port); err != nil || host != "host" || n == 0 {
		t.Errorf("address %v", one.Addr())
	}
	if one.Addr() == two.Addr() {
		t.Errorf("both have address %v", one.Addr())
	}
}

// Dial waits while the backlog is full. When the listener closes, sessions in the backlog
// are reset.
func TestMemoryBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(transporttest.Memory)
		l, err := m.Listen(t.Context(), "host")
		if err != nil {
			t.Fatal(err)
		}
		var waiting []transport.Session
		for {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			s, err := m.Dial(ctx, "host")
			cancel()
			if err != nil {
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Dial: %v", err)
				}
				break
			}
			waiting = append(waiting, s)
		}
		l.Close()
		for _, s := range waiting {
			if err := context.Cause(s.Context()); !errors.Is(err, syscall.ECONNRESET) {
				t.Fatalf("cause %v, want a reset", err)
			}
		}
	})
}

func memoryPair(t *testing.T, m *transporttest.Memory) (client, server transport.Session, opened, accepted transport.Stream) {
	t.Helper()
	ctx := t.Context()
	l, err := m.Listen(ctx, "host")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = m.Dial(ctx, "host"); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(ctx); err != nil {
		t.Fatal(err)
	}
	if opened, err = client.OpenStream(ctx); err != nil {
		t.Fatal(err)
	}
	if accepted, err = server.AcceptStream(ctx); err != nil {
		t.Fatal(err)
	}
	return client, server, opened, accepted
}

func readOne(st transport.Stream) error {
	_, err := st.Read(make([]byte, 1))
	return err
}

func fill(st transport.Stream) error {
	for {
		if _, err := st.Write(make([]byte, 1<<10)); err != nil {
			return err
		}
	}
}
