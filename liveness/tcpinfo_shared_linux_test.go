package liveness_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

// On a connection that several streams share, the kernel can't say what its bytes were.
// Those that were read have renewed leases if they were evidence; a multiplexer's own
// pings are none. Unread input may be evidence.
func TestRule2OnASharedConnectionOnlyUnreadInputCounts(t *testing.T) {
	t.Parallel()
	for _, counts := range []codec.Evidence{codec.Bytes, codec.Messages, codec.Beats} {
		for _, read := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d/read=%v", counts, read), func(t *testing.T) {
				t.Parallel()
				here, there := tcpPair(t)
				defer here.Close()
				defer there.Close()
				if _, err := there.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
				if read { // by what takes the streams apart
					if _, err := io.ReadFull(here, make([]byte, 1)); err != nil {
						t.Fatal(err)
					}
				}
				w := serve(t, &Server{
					Config: Config{Policy: Sliding(100 * ms), Opening: 50 * ms, Evidence: counts},
					Codec:  codec.Auto,
				}, overTCP{memory(), here})
				defer w.end()
				sess, err := w.net.Dial(t.Context(), w.addr)
				if err != nil {
					t.Fatal(err)
				}
				<-sess.Context().Done()
				w.awaitClosed(KindSession)
				want := NoHello
				if !read {
					want = Silent // since it was heard, once
				}
				if e := w.one(KindSession); e.End.Reason != want {
					t.Errorf("ended %v, want %v", e.End, want)
				}
			})
		}
	}
}

// An overTCP is a transport whose sessions say that conn carries them.
type overTCP struct {
	transport.Transport
	conn net.Conn
}

func (o overTCP) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	l, err := o.Transport.Listen(ctx, addr)
	return overTCPListener{l, o.conn}, err
}

type overTCPListener struct {
	transport.Listener
	conn net.Conn
}

func (l overTCPListener) Accept(ctx context.Context) (transport.Session, error) {
	sess, err := l.Listener.Accept(ctx)
	return overTCPSession{sess, l.conn}, err
}

type overTCPSession struct {
	transport.Session
	conn net.Conn
}

func (s overTCPSession) NetConn() net.Conn { return s.conn }
