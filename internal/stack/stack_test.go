package stack_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/livenet/livenet/internal/devtls"
	"github.com/livenet/livenet/internal/stack"
	"github.com/livenet/livenet/transport"
)

// Rule 9: the lower layers' idle timeout is longer than any policy's timeout, with time for
// its probes.
func TestRule9IdleTimeoutIsLongerThanThePolicys(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, timeout := range []time.Duration{1, 20 * time.Millisecond, time.Second, 4 * time.Second, 10 * time.Second, time.Minute, time.Hour, 10 * year, 290 * year} {
		got := stack.IdleTimeout(timeout)
		if got <= timeout+time.Second {
			t.Errorf("IdleTimeout(%v) = %v", timeout, got)
		}
		// quic-go treats a peer's shorter idle timeout as this (RFC 9000, section 10.1).
		if got < 5*time.Second {
			t.Errorf("IdleTimeout(%v) = %v, which is below QUIC's floor", timeout, got)
		}
	}
}

// Rule 9: the kernel does not close a connection to a peer that acknowledges and sends, but
// does not read.
func TestRule9TheKernelKeepsAPeerThatDoesNotRead(t *testing.T) {
	t.Parallel()
	tr, err := stack.New("tcp", nil, stack.Limits{IdleTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	l, err := tr.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	sess, err := l.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer sess.Close(0, "")
	st, err := sess.AcceptStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	st.SetWriteDeadline(time.Now().Add(3 * time.Second)) // the kernel would close it within two
	for n := 0; err == nil; {
		n, err = st.Write(make([]byte, 1<<20))
		if n == 0 && err == nil {
			t.Fatal("nothing written, and no error")
		}
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) || sess.Context().Err() != nil {
		t.Errorf("Write: %v; ended: %v", err, context.Cause(sess.Context()))
	}
}

// Every transport works with the longest limits of a policy, which do not fit the kernel's
// integers.
func TestNewWithTheLongestLimits(t *testing.T) {
	identity, roots, err := devtls.Ephemeral()
	if err != nil {
		t.Fatal(err)
	}
	server := &tls.Config{Certificates: []tls.Certificate{identity.Certificate}}
	client := &tls.Config{RootCAs: roots}
	for _, name := range stack.Names {
		for _, secure := range []bool{false, true} {
			if !secure && stack.AlwaysTLS(name) {
				continue
			}
			for _, timeout := range []time.Duration{20 * time.Millisecond, 10 * 365 * 24 * time.Hour} {
				limits := stack.Limits{IdleTimeout: stack.IdleTimeout(timeout), Handshake: 10 * time.Second, KeepAlive: true}
				serverTLS, clientTLS := server, client
				if !secure {
					serverTLS, clientTLS = nil, nil
				}
				l, err1 := stack.New(name, serverTLS, limits)
				d, err2 := stack.New(name, clientTLS, limits)
				if err1 != nil || err2 != nil {
					t.Fatal(err1, err2)
				}
				exchange(t, l, d)
			}
		}
	}
	if _, err := stack.New("carrier pigeon", nil, stack.Limits{}); err == nil {
		t.Error("there is a transport called carrier pigeon")
	}
}

// exchange sends a byte there and back.
func exchange(t *testing.T, server, client transport.Transport) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	l, err := server.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sent := make(chan error, 1)
	go func() {
		sent <- func() error {
			s, err := client.Dial(ctx, l.Addr().String())
			if err != nil {
				return err
			}
			st, err := s.OpenStream(ctx)
			if err != nil {
				return err
			}
			if _, err = st.Write([]byte{1}); err != nil {
				return err
			}
			defer s.Close(0, "")
			_, err = st.Read(make([]byte, 1)) // by now the server has received the byte
			return err
		}()
	}()
	s, err := l.Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	st, err := s.AcceptStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
	if _, err := st.Write([]byte{2}); err != nil {
		t.Error(err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	s.Close(0, "")
}
