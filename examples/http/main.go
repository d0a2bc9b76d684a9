// Http is a web server whose connections are judged by livenet: net/http above,
// one line of liveness below.
//
//	go run ./examples/http                       # serves until ^C
//	curl http://127.0.0.1:8080/                  # hello
//	curl 'http://127.0.0.1:8080/slow?for=2s'     # an answer that takes its time
//
// A connection is closed when its client has sent nothing for -timeout, and, if
// it never sent anything, for half of that. Three things are worth knowing.
//
// A client that waits for an answer is silent: HTTP/1 has no heartbeat, and
// what is sent to the client proves nothing about it. So an answer that takes
// longer than the timeout is cut off, and the request's context ends; try
// '/slow?for=20s'. Either the timeout is longer than the slowest answer, or the
// handler vouches for its client while it works, with Renew; try
// '/slow?for=20s&vouch=1'. A client that vanishes meanwhile then costs its memory
// until the handler has done and the timeout has passed, but no longer.
//
// Any byte is a sign of life. A client that sends its header one byte at a time
// (a slow loris) could go on for ever under this policy. ReadHeaderTimeout ends
// it, and is the one timeout of http.Server to set. [liveness.MaxAge] would end
// it too, but also honest requests in their midst. A body that trickles is for
// the handler that takes one to bound, with SetReadDeadline of
// http.ResponseController: the policy leaves the application's deadlines alone.
//
// IdleTimeout, ReadTimeout and WriteTimeout stay off: of two judges, who is to
// say why a connection ended? The silence between two requests is the policy's,
// and so is that of a client that does not take its answer. (A silent connection
// is closed with a reset. If idle ones are to end more politely, set an
// IdleTimeout below the policy's; they end as done then.)
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/livenet/livenet/liveness"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "`address` to serve on")
	timeout := flag.Duration("timeout", 10*time.Second, "how long a client may be silent")
	flag.Parse()
	if *timeout <= 0 {
		log.Fatal("-timeout must be positive")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	l, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("serving http://%v/ and http://%v/slow?for=2s", l.Addr(), l.Addr())
	if err := serve(ctx, l, newServer(*timeout), policy(*timeout)); err != nil {
		log.Fatal(err)
	}
}

// policy is what livenet judges connections by.
func policy(timeout time.Duration) *liveness.Config {
	return &liveness.Config{
		Policy:  liveness.Sliding(timeout),
		Opening: timeout / 2, // from accept to the first byte
		Events: func(ev liveness.Event) {
			if ev.What == liveness.Closed {
				log.Printf("%v: %v", ev.Remote, ev.End)
			}
		},
	}
}

// newServer is what net/http does by itself.
func newServer(timeout time.Duration) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/", hello)
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) { slow(w, r, timeout/3) })
	return &http.Server{
		Handler: mux,
		// Longer than the policy's, so that it ends those only that keep talking.
		ReadHeaderTimeout: 2 * timeout,
		// For handlers that want to know the connection that they answer on.
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
	}
}

// serve serves until ctx ends, and then lets requests in progress finish.
func serve(ctx context.Context, l net.Listener, srv *http.Server, cfg *liveness.Config) error {
	finished := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		finished <- errors.Join(srv.Shutdown(ctx), srv.Close())
	})
	err := srv.Serve(liveness.NewListener(l, cfg)) // this is the line
	if stop() {
		return err // it failed by itself
	}
	return <-finished
}

type connKey struct{}

func hello(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	fmt.Fprintln(w, "hello")
}

// slow answers after a while. With vouch it renews its connection's lease
// meanwhile, at every tick: the silence is not the client's doing.
func slow(w http.ResponseWriter, r *http.Request, tick time.Duration) {
	d, err := time.ParseDuration(r.FormValue("for"))
	if err != nil {
		http.Error(w, "for: "+err.Error(), http.StatusBadRequest)
		return
	}
	conn, _ := r.Context().Value(connKey{}).(*liveness.Conn)
	vouch := r.FormValue("vouch") != "" && conn != nil

	done, working := time.After(d), time.NewTicker(tick)
	defer working.Stop()
	for {
		select {
		case <-done:
			fmt.Fprintf(w, "that took %v\n", d)
			return
		case <-working.C:
			if vouch {
				conn.Renew()
			}
		case <-r.Context().Done():
			return // nobody is there to be answered
		}
	}
}
