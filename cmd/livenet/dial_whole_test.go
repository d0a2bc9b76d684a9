package main

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport/tcp"
)

// zeros returns a reader of n zeros, which blocks until start is closed.
func zeros(start <-chan struct{}, n int64) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		<-start
		if n == 0 {
			return 0, io.EOF
		}
		k := min(int64(len(p)), n)
		n -= k
		clear(p[:k])
		return int(k), nil
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Rule 12: a server that half-closes first still gets all of stdin.
func TestRule12DialSendsAllAfterTheServersHalfClose(t *testing.T) {
	t.Parallel()
	const size = 20 << 20
	for _, framing := range []codec.Codec{codec.Frame, codec.Raw} {
		t.Run(framing.Name(), func(t *testing.T) {
			t.Parallel()
			l, err := tcp.Transport{}.Listen(t.Context(), "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ended, got := make(chan struct{}), make(chan int64, 1)
			srv := &liveness.Server{
				Config: liveness.Config{Policy: liveness.Sliding(soon)}, Codec: framing,
				Handler: func(_ context.Context, c *liveness.Conn) {
					c.CloseWrite()
					close(ended)
					n, _ := io.Copy(io.Discard, c)
					got <- n
				},
			}
			ctx, stop := context.WithCancel(context.Background())
			served := make(chan error, 1)
			go func() { served <- srv.Serve(ctx, l) }()
			tr := newTrial(t)
			tr.stdin = zeros(ended, size)
			tr.start("dial", "--codec", framing.Name(), l.Addr().String())
			if status := tr.wait(); status != 0 {
				t.Errorf("exit status %d: %s", status, tr.stderr)
			}
			if n := <-got; n != size {
				t.Errorf("%d of %d bytes arrived", n, size)
			}
			stop()
			<-served
		})
	}
}

// With the frame codec, data without an end of data is reported as incomplete.
func TestDialReportsIncompleteData(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]string{"a FIN": "", "the end of data": "\x02\x00", "a Close": "\x05\x00\x00"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan struct{})
		go func() {
			defer close(served)
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			io.WriteString(conn, "\x01\x03\x00\x00\x00\x02\x04data"+end)
			conn.(*net.TCPConn).CloseWrite()
			conn.SetReadDeadline(time.Now().Add(soon))
			io.Copy(io.Discard, conn)
		}()
		tr := newTrial(t)
		tr.start("dial", l.Addr().String())
		want := 0
		if end == "" {
			want = statusLost
		}
		if status := tr.wait(); status != want || tr.stdout.String() != "data" {
			t.Errorf("after %s: exit status %d, want %d; stdout %q", name, status, want, tr.stdout)
		}
		if want != 0 && !strings.Contains(tr.stderr.String(), "peer-closed") {
			t.Errorf("after %s it says %q", name, tr.stderr)
		}
		l.Close()
		<-served
	}
}
