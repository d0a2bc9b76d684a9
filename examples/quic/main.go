// Quic is a store of keys and values over QUIC, in a protocol of its own: each request has
// a stream, and all of a client's streams are one session.
//
//	go run ./examples/quic     # a server, and a client that asks it for a few things
//
// A client that only watches sends nothing, but its QUIC answers: acknowledgements are
// the evidence. What asks it is QUIC's keepalive, which must be three times as frequent
// as the policy's timeout. The library refuses to serve with less.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"sync"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport/quic"
)

const timeout = 3 * time.Second

func overQUIC(conf *tls.Config) quic.Transport {
	return quic.Transport{TLS: conf, Config: &quicgo.Config{KeepAlivePeriod: timeout / 3}}
}

type store struct {
	srv liveness.Server

	mu      sync.Mutex
	values  map[string]string
	changed chan struct{} // closed, and replaced, with each change
}

func newStore() *store {
	s := &store{values: make(map[string]string), changed: make(chan struct{})}
	s.srv.Config = liveness.Config{Policy: liveness.Sliding(timeout), Evidence: codec.Acks, Events: func(e liveness.Event) { log.Println(e) }}
	s.srv.Handler = s.answer
	return s
}

// answer serves a stream, which is one request.
func (s *store) answer(ctx context.Context, c *liveness.Conn) {
	var verb, key, value string
	line, _ := bufio.NewReader(c).ReadString('\n')
	fmt.Sscan(line, &verb, &key, &value)
	switch verb {
	case "set":
		s.mu.Lock()
		defer s.mu.Unlock()
		s.values[key] = value
		close(s.changed)
		s.changed = make(chan struct{})
	case "watch": // until the client or its session ends
		for ctx.Err() == nil {
			s.mu.Lock()
			value, changed := s.values[key], s.changed
			s.mu.Unlock()
			fmt.Fprintln(c, value)
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	case "sessions":
		for x := range s.srv.Sessions() {
			fmt.Fprintln(c, x.ID(), x.RemoteAddr(), x.Stats().Age)
		}
	case "kick":
		id, _ := strconv.ParseUint(key, 10, 64)
		if x := s.srv.Session(id); x != nil {
			x.CloseWith(liveness.Kicked, "as you wish")
		}
	}
}

func main() {
	ctx := context.Background()
	server, trusting, err := certificate()
	check(err)
	l, err := overQUIC(server).Listen(ctx, "127.0.0.1:0")
	check(err)
	s := newStore()
	go s.srv.Serve(ctx, l)

	client := &liveness.Client{Codec: codec.Raw, Policy: liveness.Sliding(timeout), Evidence: codec.Acks}
	c, err := client.Dial(ctx, overQUIC(trusting), l.Addr().String())
	check(err)
	fmt.Fprintln(c, "watch", "colour") // on the first stream
	go io.Copy(os.Stdout, c)
	ask := func(text string) io.Reader {
		r, err := c.Session().OpenStream(ctx)
		check(err)
		fmt.Fprintln(r, text)
		return r
	}
	io.Copy(os.Stdout, ask("set colour red")) // until it is done
	var id string
	fmt.Fscan(ask("sessions"), &id)
	ask("kick " + id)
	<-c.Done()
	fmt.Println(c.End())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
