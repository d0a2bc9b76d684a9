package liveness_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/yamux"
)

// The TCP connection of a session that ends as Silent is reset, whatever the peer still
// does, and leaves nothing in the kernel.
func TestRule12ASilentSessionLeavesNothingInTheKernel(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"yamux", "yamux-tls"} {
		n := networks(t)[name]
		server, client := n.server.(yamux.Transport).Inner, n.client.(yamux.Transport).Inner
		t.Run(name+"/accepted", func(t *testing.T) {
			t.Parallel()
			w := serve(t, &Server{Config: Config{Policy: Sliding(300 * ms)}}, n)
			defer w.end()
			sess, err := client.Dial(t.Context(), w.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer sess.Close(0, "")
			w.awaitClosed(KindSession)
			noSocket(t, w.addr, sess.LocalAddr().String())
		})
		t.Run(name+"/dialled", func(t *testing.T) {
			t.Parallel()
			l, err := server.Listen(t.Context(), "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			accepted := make(chan transport.Session, 1)
			go func() {
				sess, err := l.Accept(context.Background())
				if err != nil {
					t.Error(err)
					close(accepted)
					return
				}
				accepted <- sess
				if st, err := sess.AcceptStream(context.Background()); err == nil {
					st.Read(make([]byte, 1)) // for the handshake; more isn't read
				}
			}()
			w := &world{t: t, net: n, addr: l.Addr().String()}
			c := w.client(Client{Codec: codec.Raw, Policy: Sliding(300 * ms)})
			sess := <-accepted
			if sess == nil {
				return
			}
			defer sess.Close(0, "")
			local := c.LocalAddr().String()
			c.Read(make([]byte, 1))
			c.Close()
			noSocket(t, local, w.addr)
		})
	}
}

// noSocket checks that the kernel soon has no connection from one address of 127.0.0.1 to
// another.
func noSocket(t *testing.T, from, to string) {
	t.Helper()
	hex := func(addr string) string {
		var port int
		fmt.Sscanf(addr, "127.0.0.1:%d", &port)
		return fmt.Sprintf("0100007F:%04X", port)
	}
	var line string
	for range 50 {
		table, err := os.ReadFile("/proc/net/tcp")
		if err != nil {
			t.Skip(err)
		}
		pair := hex(from) + " " + hex(to)
		i := strings.Index(string(table), pair)
		if i < 0 {
			return
		}
		line, _, _ = strings.Cut(string(table[i:]), "\n")
		time.Sleep(10 * ms)
	}
	t.Errorf("from %v to %v there still is: %s", from, to, line)
}
