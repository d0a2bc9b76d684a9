package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/livenet/livenet/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeConn is a connection whose calls return err.
type fakeConn struct {
	net.Conn
	err error
}

func (c *fakeConn) Read(p []byte) (int, error)  { return len(p), c.err }
func (c *fakeConn) Write(p []byte) (int, error) { return len(p), c.err }
func (c *fakeConn) CloseWrite() error           { return c.err }
func (c *fakeConn) Close() error                { return c.err }
func (c *fakeConn) LocalAddr() net.Addr         { return &net.TCPAddr{Port: 1} }
func (c *fakeConn) RemoteAddr() net.Addr        { return &net.TCPAddr{Port: 2} }

func single(t testing.TB, conn net.Conn) (transport.Session, transport.Stream) {
	t.Helper()
	s := transport.Single(conn)
	st, err := s.OpenStream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s, st
}

// Which errors of a connection end the session, and with which cause.
func TestSingleErrors(t *testing.T) {
	kernel := func(errno error) error {
		return &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", errno)}
	}
	given := &transport.CloseError{Origin: transport.Peer, HasCode: true, Code: 7}
	for _, test := range []struct {
		name string
		err  error
		want *transport.CloseError // without Err; nil if the session goes on
	}{
		{"EOF", io.EOF, nil},
		{"Deadline", &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, nil},
		{"TimeoutOfAnotherKind", &net.DNSError{IsTimeout: true}, nil},
		{"ECONNRESET", kernel(syscall.ECONNRESET), &transport.CloseError{Origin: transport.Peer, Reset: true}},
		{"EPIPE", kernel(syscall.EPIPE), &transport.CloseError{Origin: transport.Peer, Reset: true}},
		{"ErrClosedPipe", io.ErrClosedPipe, &transport.CloseError{Origin: transport.Peer, Reset: true}},
		{"ErrUnexpectedEOF", io.ErrUnexpectedEOF, &transport.CloseError{Origin: transport.Peer}},
		{"EOFInAHandshake", fmt.Errorf("handshake: %w", io.EOF), &transport.CloseError{Origin: transport.Peer}},
		{"ETIMEDOUT", kernel(syscall.ETIMEDOUT), &transport.CloseError{Origin: transport.Lost}},
		{"EHOSTUNREACH", kernel(syscall.EHOSTUNREACH), &transport.CloseError{Origin: transport.Lost}},
		{"ErrClosed", net.ErrClosed, &transport.CloseError{Origin: transport.Local}},
		{"CloseError", fmt.Errorf("a layer below: %w", given), given},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, st := single(t, &fakeConn{err: test.err})
			_, err := st.Read(make([]byte, 1))
			cause := context.Cause(s.Context())
			if test.want == nil {
				if err != test.err || cause != nil {
					t.Errorf("Read: %v, session: %v; want the error as it was", err, cause)
				}
				return
			}
			if !errors.Is(cause, test.err) && cause != given {
				t.Errorf("cause %v does not wrap %v", cause, test.err)
			}
			got := *cause.(*transport.CloseError)
			got.Err = nil
			if got != *test.want {
				t.Errorf("cause %+v, want %+v", got, *test.want)
			}
			if err != cause {
				t.Errorf("Read: %v, want the cause", err)
			}
			if _, err := st.Write(nil); err != cause {
				t.Errorf("Write: %v, want the cause", err)
			}
			if err := st.CloseWrite(); err != cause {
				t.Errorf("CloseWrite: %v, want the cause", err)
			}
			st.Close()
			if last := context.Cause(s.Context()); last != cause {
				t.Errorf("Close changed the cause to %v", last)
			}
		})
	}
}

// Single works with any net.Conn. CloseWrite of one that can't half-close returns
// ErrUnsupported.
func TestSingleOfAPipe(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	s, st := single(t, a)
	if err := st.CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("CloseWrite: %v, want ErrUnsupported", err)
	}
	if got := st.(interface{ NetConn() net.Conn }).NetConn(); got != a {
		t.Errorf("NetConn is %v, not what was wrapped", got)
	}
	b.Close()
	if _, err := st.Write([]byte{0}); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Write to a closed peer: %v", err)
	}
	st.Reset(1)
	if ce := context.Cause(s.Context()).(*transport.CloseError); ce.Origin != transport.Peer {
		t.Errorf("cause %v, want the first one", ce)
	}
}

// Write after CloseWrite is an error and does not end the session.
func TestSingleWriteAfterCloseWrite(t *testing.T) {
	conn := new(fakeConn)
	s, st := single(t, conn)
	if err := st.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	conn.err = syscall.EPIPE
	if _, err := st.Write([]byte{0}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write: %v, want net.ErrClosed", err)
	}
	conn.err = syscall.ENOTCONN
	if err := st.CloseWrite(); err != nil {
		t.Errorf("CloseWrite again: %v", err)
	}
	if err := context.Cause(s.Context()); err != nil {
		t.Errorf("the session ended: %v", err)
	}
}

// Read and Write through Single don't allocate.
func TestSingleAllocations(t *testing.T) {
	_, st := single(t, new(fakeConn))
	p := make([]byte, 1)
	if n := testing.AllocsPerRun(100, func() {
		st.Read(p)
		st.Write(p)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRead(b *testing.B) {
	conn := new(fakeConn)
	_, st := single(b, conn)
	for _, c := range []struct {
		name string
		net.Conn
	}{{"Bare", conn}, {"Single", st}} {
		b.Run(c.name, func(b *testing.B) {
			p := make([]byte, 1)
			for b.Loop() {
				c.Read(p)
			}
		})
	}
}
