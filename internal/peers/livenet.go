package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/quic"
	"github.com/livenet/livenet/transport/tcp"
	"github.com/livenet/livenet/transport/yamux"
)

// A factory makes the two ends of a transport.
type factory func() (server, client transport.Transport, err error)

func overTCP() (server, client transport.Transport, err error) {
	return tcp.Transport{}, tcp.Transport{}, nil
}

// parked is TCP whose idle connections take no goroutine.
func parked() (server, client transport.Transport, err error) {
	return tcp.Transport{Parked: true}, tcp.Transport{}, nil
}

func overYamux() (server, client transport.Transport, err error) {
	t := yamux.Transport{Inner: tcp.Transport{}}
	return t, t, nil
}

func overQUIC() (server, client transport.Transport, err error) {
	serverTLS, clientTLS, err := certificates()
	return quic.Transport{TLS: serverTLS}, quic.Transport{TLS: clientTLS}, err
}

// handled makes srv echo with a goroutine for each stream.
func handled(srv *liveness.Server) {
	srv.Handler = func(_ context.Context, conn *liveness.Conn) {
		buf := make([]byte, 1024)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			if _, err := conn.Write(buf[:n]); err != nil {
				return
			}
		}
	}
}

// fed makes srv echo what it is called with.
func fed(srv *liveness.Server) {
	srv.Data = func(conn *liveness.Conn, p []byte) error {
		_, err := conn.Write(p)
		return err
	}
}

// serveLivenet is a server over a transport, with a codec, that echoes in one
// of the two ways above.
func serveLivenet(over factory, c codec.Codec, echo func(*liveness.Server)) func(*server) (string, error) {
	return func(s *server) (string, error) {
		ctx := context.Background()
		t, _, err := over()
		if err != nil {
			return "", err
		}
		l, err := t.Listen(ctx, "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		srv := &liveness.Server{Config: liveness.Config{Policy: liveness.Sliding(idleTimeout)}, Codec: c}
		echo(srv)
		s.count = func() int { return int(srv.Counts(liveness.KindSession).Live) }
		go func() {
			if err := srv.Serve(ctx, l); err != nil {
				fmt.Fprintln(os.Stderr, "livenet:", err)
			}
		}()
		return l.Addr().String(), nil
	}
}

// dialLivenet is livenet's own client, which beats by itself.
func dialLivenet(over factory) func(string, time.Duration) client {
	return func(addr string, beat time.Duration) client {
		ready := sync.OnceValues(func() (transport.Transport, error) {
			_, t, err := over()
			return t, err
		})
		d := &liveness.Client{Codec: codec.Frame, Beat: beat}
		return newDialler(func(ctx context.Context) (io.ReadWriter, error) {
			t, err := ready()
			if err != nil {
				return nil, err
			}
			return d.Dial(ctx, t, addr)
		})
	}
}
