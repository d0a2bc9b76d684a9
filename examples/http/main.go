// Http is a web server that knows which of its clients are still there: net/http, and
// one line of liveness. It speaks HTTP/1.1, and HTTP/2 with a certificate.
//
//	go run ./examples/http -timeout 10s               # serves until ^C
//	curl 'http://127.0.0.1:8080/download?for=20s'     # takes longer than the timeout
//	curl 'http://127.0.0.1:8080/events?every=15s'     # server-sent events
//	curl http://127.0.0.1:8080/sessions               # who is connected
//	curl -X DELETE http://127.0.0.1:8080/sessions/1   # end one
//
// A client lives as long as its system acknowledges, so it may receive for hours without
// sending anything. One that has vanished is ended after the timeout. (Below 3 s only what
// a client sends counts: see Evidence in [liveness.Config].)
//
// A client that trickles its request lives as well. That is what ReadHeaderTimeout is
// for, and the handler's SetReadDeadline for a body.
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
	"strconv"
	"time"

	"github.com/livenet/livenet/liveness"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "`address` to serve on")
	timeout := flag.Duration("timeout", 10*time.Second, "how long a client may give no sign of life")
	cert := flag.String("cert", "", "`file` with a certificate; serves HTTPS")
	key := flag.String("key", "", "`file` with its key")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	inner, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	l := liveness.NewListener(inner, config(*timeout)) // the line
	if err := serve(ctx, l, newServer(l, *timeout), *cert, *key); err != nil {
		log.Fatal(err)
	}
}

func config(timeout time.Duration) *liveness.Config {
	return &liveness.Config{
		Policy: liveness.Sliding(timeout),
		Events: func(e liveness.Event) { log.Println(e) },
	}
}

func newServer(l *liveness.Listener, timeout time.Duration) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /download", func(w http.ResponseWriter, r *http.Request) {
		d, _ := time.ParseDuration(r.FormValue("for"))
		tick(w, r, 100*time.Millisecond, d, "a piece\n")
	})
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		every, _ := time.ParseDuration(r.FormValue("every"))
		tick(w, r, max(every, 100*time.Millisecond), 24*time.Hour, "data: still here\n\n")
	})
	mux.HandleFunc("GET /sessions", func(w http.ResponseWriter, _ *http.Request) {
		for s := range l.Sessions() {
			st := s.Stats()
			fmt.Fprintf(w, "%d %v age %v silence %v\n", s.ID(), s.RemoteAddr(), st.Age, st.Silence)
		}
	})
	mux.HandleFunc("DELETE /sessions/{id}", func(_ http.ResponseWriter, r *http.Request) {
		id, _ := strconv.ParseUint(r.PathValue("id"), 10, 64)
		if s := l.Session(id); s != nil {
			s.CloseWith(liveness.Kicked, "")
		}
	})
	return &http.Server{Handler: mux, ReadHeaderTimeout: timeout}
}

// tick writes s at once, and at intervals for d.
func tick(w http.ResponseWriter, r *http.Request, every, d time.Duration, s string) {
	for until := time.Now().Add(d); time.Now().Before(until); {
		fmt.Fprint(w, s)
		http.NewResponseController(w).Flush()
		select {
		case <-time.After(every):
		case <-r.Context().Done():
			return
		}
	}
}

// serve serves until ctx ends, and then gives requests under way 5 s to finish.
func serve(ctx context.Context, l *liveness.Listener, srv *http.Server, cert, key string) error {
	finished := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(finished)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		srv.Shutdown(ctx)
		l.Shutdown(ctx) // ends what is left
	})
	serve := srv.Serve
	if cert != "" || srv.TLSConfig != nil {
		serve = func(l net.Listener) error { return srv.ServeTLS(l, cert, key) }
	}
	if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-finished
	return nil
}
