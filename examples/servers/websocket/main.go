// Websocket pushes the time to whoever connects, and knows which of them are still there:
// github.com/coder/websocket, and one line of liveness.
//
//	go run ./websocket                # in examples/servers; serves until ^C
//	curl 127.0.0.1:8082/sessions      # who is connected
//	curl -X DELETE 127.0.0.1:8082/sessions/1
//
// A listener needs to send nothing, no pongs either, which browsers send by themselves
// but scripts can't: its system acknowledges. One that has vanished is ended after the
// timeout. Whoever is ended for another reason gets a close frame that says which.
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

	"github.com/coder/websocket"

	"github.com/livenet/livenet/liveness"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8082", "`address` to serve on")
	timeout := flag.Duration("timeout", 10*time.Second, "how long a client may give no sign of life")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	inner, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	l := liveness.NewListener(inner, config(*timeout)) // the line
	context.AfterFunc(ctx, func() { l.Shutdown(ctx) }) // with close frames
	log.Print(newServer(l).Serve(l))
	l.Shutdown(ctx) // waits for the same
}

func config(timeout time.Duration) *liveness.Config {
	return &liveness.Config{
		Policy: liveness.Sliding(timeout),
		Events: func(e liveness.Event) { log.Println(e) },
	}
}

type connKey struct{}

func newServer(l *liveness.Listener) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /time", pushTime)
	mux.HandleFunc("GET /sessions", func(w http.ResponseWriter, _ *http.Request) {
		for s := range l.Sessions() {
			fmt.Fprintln(w, s.ID(), s.RemoteAddr(), s.Stats().Age)
		}
	})
	mux.HandleFunc("DELETE /sessions/{id}", func(_ http.ResponseWriter, r *http.Request) {
		id, _ := strconv.ParseUint(r.PathValue("id"), 10, 64)
		if s := l.Session(id); s != nil {
			s.CloseWith(liveness.Kicked, "")
		}
	})
	return &http.Server{
		Handler: mux,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
	}
}

// pushTime sends the time at once, and every so often.
func pushTime(w http.ResponseWriter, r *http.Request) {
	every, _ := time.ParseDuration(r.FormValue("every"))
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer ws.CloseNow()
	r.Context().Value(connKey{}).(*liveness.Conn).BeforeClose(func(e *liveness.Error) {
		ws.Close(websocket.StatusGoingAway, e.Reason.String())
	})
	ctx := ws.CloseRead(context.Background()) // ends with the connection
	for {
		text := []byte(time.Now().Format(time.TimeOnly))
		if ws.Write(ctx, websocket.MessageText, text) != nil {
			return
		}
		select {
		case <-time.After(max(every, time.Second)):
		case <-ctx.Done():
			return
		}
	}
}
