package liveness_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport/tcp"
)

// A lease on whatever may fall silent: here a worker that is to report now and then.
func ExampleEngine_Grant() {
	var engine liveness.Engine
	expired := make(chan *liveness.Error)
	lease := engine.Grant(liveness.Sliding(50*time.Millisecond), func(e *liveness.Error) { expired <- e })
	fmt.Println("renewed:", lease.Renew())

	e := <-expired // it does not report again
	fmt.Println("expired:", e.Reason)
	fmt.Println("renewed:", lease.Renew())
	// Output:
	// renewed: true
	// expired: silent
	// renewed: false
}

// A web server whose clients may receive for as long as they live, and are ended when
// they have vanished.
func ExampleNewListener() {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	l := liveness.NewListener(inner, &liveness.Config{Policy: liveness.Sliding(30 * time.Second)})
	srv := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for s := range l.Sessions() {
				fmt.Fprintln(w, "connected, judged by", s.Policy())
			}
		}),
	}
	go srv.Serve(l)
	defer srv.Close()

	resp, err := http.Get("http://" + l.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	fmt.Print(string(body))
	http.DefaultClient.CloseIdleConnections()
	// Output: connected, judged by sliding 30s
}

// An echo of lines, and the client that ends it.
func ExampleServer() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	l, err := tcp.Transport{}.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	srv := &liveness.Server{
		Config:  liveness.Config{Policy: liveness.Sliding(30 * time.Second)},
		Codec:   codec.Frame, // messages, heartbeats, and reasons
		Handler: func(ctx context.Context, c *liveness.Conn) { io.Copy(c, c) },
	}
	served := make(chan error)
	go func() { served <- srv.Serve(ctx, l) }()

	c, err := new(liveness.Client).Dial(ctx, tcp.Transport{}, l.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Fprintln(c, "hello")
	line, _ := bufio.NewReader(c).ReadString('\n')
	fmt.Print(line)

	for s := range srv.Sessions() {
		s.CloseWith(liveness.Kicked, "for today")
	}
	_, err = c.Read(make([]byte, 1))
	fmt.Println(err)
	c.Close()

	stop() // drains
	fmt.Println(<-served, srv.Counts(liveness.KindSession).Closed)
	// Output:
	// hello
	// closed by peer: kicked: for today
	// <nil> map[kicked:1]
}

// A client that comes back when it has lost its session.
func ExampleClient_Reconnect() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	l, err := tcp.Transport{}.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	srv := &liveness.Server{
		Config:  liveness.Config{Policy: liveness.Sliding(30 * time.Second)},
		Codec:   codec.Frame,
		Handler: func(_ context.Context, c *liveness.Conn) { io.Copy(c, c) },
	}
	served := make(chan error)
	go func() { served <- srv.Serve(ctx, l) }()

	client := &liveness.Client{
		MinBackoff: time.Millisecond,
		Events: func(e liveness.Event) {
			if e.What == liveness.Retrying {
				fmt.Println("retrying:", e.Err)
			}
		},
	}
	sessions := 0
	err = client.Reconnect(ctx, tcp.Transport{}, l.Addr().String(), nil, func(_ context.Context, c *liveness.Conn) error {
		if sessions++; sessions == 3 {
			return nil // done
		}
		fmt.Fprintln(c, "hello")
		in := bufio.NewScanner(c)
		for in.Scan() {
			fmt.Printf("session %d: %s\n", sessions, in.Text())
			for s := range srv.Sessions() {
				s.CloseWith(liveness.Overload, "")
			}
		}
		return in.Err()
	})
	fmt.Println("at last:", err)

	stop()
	<-served
	// Output:
	// session 1: hello
	// retrying: closed by peer: overload
	// session 2: hello
	// retrying: closed by peer: overload
	// at last: <nil>
}

// A connection whose protocol has a close message of its own.
func ExampleConn_BeforeClose() {
	here, peer := net.Pipe()
	c := liveness.NewConn(here, &liveness.Config{Policy: liveness.MaxAge(50*time.Millisecond, 0)})
	c.BeforeClose(func(e *liveness.Error) { fmt.Fprintln(c, "GOODBYE", e.Reason) })
	go io.Copy(io.Discard, c)

	fmt.Fprintln(peer, "hello")
	line, _ := bufio.NewReader(peer).ReadString('\n')
	fmt.Print(line)
	// Output: GOODBYE max-age
}
