// Http is a web server whose connections are judged by livenet: net/http above,
// one line of liveness below.
//
//	go run ./examples/http                          # serves until ^C
//	curl http://127.0.0.1:8080/                     # hello
//	curl 'http://127.0.0.1:8080/slow?for=20s'       # an answer that takes its time
//	curl -N 'http://127.0.0.1:8080/events?for=1m'   # server-sent events
//	curl 'http://127.0.0.1:8080/download?for=1m'    # a download
//
// A connection is closed when its client has gone: when the client's kernel has
// acknowledged nothing for -timeout, and, if the client never sent anything, after half
// of that. So a client that waits for an answer, or only receives, lives for as long as
// it is there. Behind a proxy it is the proxy that is there.
//
// What a client does that is there is another matter, and has limits of its own:
//
//   - One that sends its header a byte at a time (a slow loris) is ended by
//     ReadHeaderTimeout. A body that trickles is for the handler that takes one to bound,
//     with SetReadDeadline of http.ResponseController: the policy leaves the
//     application's deadlines alone.
//   - One that says nothing between two requests is ended by IdleTimeout.
//   - One that doesn't read its answer is ended by [liveness.Config].MinPace, as too-slow.
//     A WriteTimeout would end long downloads, too.
//
// Acknowledgements can't be had where the connection isn't TCP, or -timeout is under 3 s.
// There bytes are what counts, and a client of HTTP/1 that waits for an answer is silent.
// Either the timeout is longer than the slowest answer, or the handler vouches for its
// client while it works, with Renew; try -timeout 2s and '/slow?for=20s&vouch=1'. A client
// that vanishes meanwhile then costs its memory until the handler has done and the
// timeout has passed, but no longer. (A silent connection is closed with a reset.)
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/livenet/livenet/liveness"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "`address` to serve on")
	timeout := flag.Duration("timeout", 10*time.Second, "how long a client may give no sign of life")
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
		MinPace: 1 << 10,     // bytes a second of an answer
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
	mux.HandleFunc("/events", events)
	mux.HandleFunc("/download", download)
	return &http.Server{
		Handler: mux,
		// Longer than the policy's, so that they end those only that are there.
		ReadHeaderTimeout: 2 * timeout,
		IdleTimeout:       6 * timeout,
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
	d, ok := duration(w, r)
	if !ok {
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

// duration is what the request asks for.
func duration(w http.ResponseWriter, r *http.Request) (d time.Duration, ok bool) {
	d, err := time.ParseDuration(r.FormValue("for"))
	if err != nil {
		http.Error(w, "for: "+err.Error(), http.StatusBadRequest)
	}
	return d, err == nil
}

// events sends the time as server-sent events, four a second.
func events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	stream(w, r, func() string { return "data: " + time.Now().Format(time.RFC3339Nano) + "\n\n" })
}

// download sends 16 KB a second.
func download(w http.ResponseWriter, r *http.Request) {
	block := strings.Repeat("livenet ", 4<<10/8)
	stream(w, r, func() string { return block })
}

// stream sends what next returns, four times a second, until its time is over or the
// client has gone.
func stream(w http.ResponseWriter, r *http.Request, next func() string) {
	d, ok := duration(w, r)
	if !ok {
		return
	}
	done, tick := time.After(d), time.NewTicker(250*time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			io.WriteString(w, next())
			if http.NewResponseController(w).Flush() != nil {
				return
			}
		case <-done:
			io.WriteString(w, "data: done\n\n")
			return
		case <-r.Context().Done():
			return // nobody is there to receive it
		}
	}
}
