// Grpc is a gRPC server that knows which of its clients are still there: grpc-go, and one
// line of liveness. Its service is grpc-go's own health service, with a unary Check and a
// Watch that streams.
//
//	go run ./grpc                # in examples/servers; serves until ^C
//	curl 127.0.0.1:8081          # who is connected
//	curl -X DELETE 127.0.0.1:8081/1
//
// A client may watch for hours without a word: its system acknowledges. One that has
// vanished is ended after the timeout, and one that never speaks when it opens. So there
// is no need for grpc-go's keepalive, whose pings clients may refuse.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/livenet/livenet/liveness"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:50051", "`address` to serve on")
	admin := flag.String("admin", "127.0.0.1:8081", "`address` to list and end sessions at")
	timeout := flag.Duration("timeout", 10*time.Second, "how long a client may give no sign of life")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	inner, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	l := liveness.NewListener(inner, config(*timeout)) // the line
	go func() { log.Fatal(http.ListenAndServe(*admin, sessions(l))) }()
	if err := serve(ctx, newServer(health.NewServer()), l); err != nil {
		log.Fatal(err)
	}
}

func config(timeout time.Duration) *liveness.Config {
	return &liveness.Config{
		Policy: liveness.Sliding(timeout),
		Events: func(e liveness.Event) { log.Println(e) },
	}
}

func newServer(h *health.Server) *grpc.Server {
	s := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(s, h)
	return s
}

// serve serves until ctx ends, and then gives calls under way 5 s to finish.
func serve(ctx context.Context, s *grpc.Server, l *liveness.Listener) error {
	stopped := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(stopped)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		go func() {
			defer cancel()
			s.GracefulStop() // tells the clients, and waits for their calls
		}()
		<-ctx.Done()
		l.Shutdown(ctx) // ends what is left
	})
	if err := s.Serve(l); err != nil {
		return err
	}
	<-stopped
	return nil
}

// sessions lists the sessions, and ends one by its number.
func sessions(l *liveness.Listener) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		for s := range l.Sessions() {
			st := s.Stats()
			fmt.Fprintf(w, "%d %v age %v silence %v\n", s.ID(), s.RemoteAddr(), st.Age, st.Silence)
		}
	})
	mux.HandleFunc("DELETE /{id}", func(_ http.ResponseWriter, r *http.Request) {
		id, _ := strconv.ParseUint(r.PathValue("id"), 10, 64)
		if s := l.Session(id); s != nil {
			s.CloseWith(liveness.Kicked, "")
		}
	})
	return mux
}
