package load

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/internal/devtls"
	"github.com/livenet/livenet/internal/stack"
	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

// A server is the role of a worker that accepts.
type server struct {
	srv     *liveness.Server
	notes   *noter
	ends    *ends // nil: it is not told of them
	starved starvation

	quit  chan struct{} // of the goroutine that notes changes; nil: there is none
	ended chan struct{}
}

// serve begins to serve, until the process ends.
func serve(o serveOrder, notes *noter) (*server, served, error) {
	t, srv, ready, err := newServer(o)
	if err != nil {
		return nil, served{}, err
	}
	s := &server{srv: srv, notes: notes}
	if o.Ends {
		s.ends = newEnds(o.Slow)
		srv.Events = s.ends.event
	}
	l, err := t.Listen(context.Background(), o.Listen)
	if err != nil {
		return nil, served{}, err
	}
	ready.Addr = l.Addr().String()
	go func() {
		err := srv.Serve(context.Background(), l)
		notes.note(note{Failed: "serving: " + err.Error()}) // nobody asked it to end
	}()
	return s, ready, nil
}

// newServer is the transport, and the server on it, that are measured. Ready
// lacks the address.
func newServer(o serveOrder) (t transport.Transport, srv *liveness.Server, ready served, err error) {
	var conf *tls.Config
	if o.Identity != nil {
		cert, err := o.Identity.certificate()
		if err != nil {
			return nil, nil, ready, err
		}
		conf = &tls.Config{Certificates: []tls.Certificate{cert}}
		ready.Pin = devtls.PinOf(cert.Leaf).String()
	}
	t, err = stack.New(o.Transport, conf, stack.Limits{
		Silence:   stack.Backstop(max(o.Timeout, o.Borne)),
		Handshake: liveness.DefaultOpening,
		ReusePort: o.ReusePort,
		Parked:    (o.IO == Parked || o.IO == Blocking) && stack.Parks(o.Transport),
	})
	if err != nil {
		return nil, nil, ready, err
	}
	code, err := codec.ByName(o.Codec)
	if err != nil {
		return nil, nil, ready, err
	}
	srv = &liveness.Server{
		Config: liveness.Config{
			Policy: liveness.Sliding(o.Timeout),
			Engine: new(liveness.Engine),
		},
		Codec: code,
		Data:  discard,
	}
	if o.Unprotected {
		srv.Policy = &unprotected{Policy: srv.Policy}
	}
	if o.Echo {
		srv.Data = echo
	}
	if o.IO == Blocking {
		srv.Handler, srv.Data = blocking(srv.Data, o.Codec), nil
	}
	return t, srv, ready, nil
}

func discard(*liveness.Conn, []byte) error { return nil }

func echo(c *liveness.Conn, p []byte) error {
	_, err := c.Write(p)
	return err
}

// blocking is a handler that reads in a loop, and gives data what it has read.
// Who waits is to be measured, and not his buffer: it is as small as the codec
// bears without one of its own.
func blocking(data func(*liveness.Conn, []byte) error, code string) liveness.Handler {
	size := 64
	if code == codec.Raw.Name() {
		size = 16
	}
	return func(_ context.Context, c *liveness.Conn) {
		b := make([]byte, size)
		for {
			n, err := c.Read(b)
			if n > 0 && data(c, b[:n]) != nil || err != nil {
				return
			}
		}
	}
}

func (s *server) connect(connectOrder) {} // that is for clients

// watchEvery is how often a server looks whether there is something to note.
const watchEvery = 10 * time.Millisecond

func (s *server) watch(on bool) {
	if s.quit != nil {
		close(s.quit)
		<-s.ended
		s.quit = nil
	}
	if !on {
		return
	}
	s.quit, s.ended = make(chan struct{}), make(chan struct{})
	go s.noteChanges(s.quit, s.ended)
}

func (s *server) noteChanges(quit <-chan struct{}, ended chan<- struct{}) {
	defer close(ended)
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	noted := uint64(0)
	for {
		select {
		case <-ticker.C:
		case <-quit:
			return
		}
		if counts := s.srv.Counts(liveness.KindSession); counts.Accepted != noted {
			noted = counts.Accepted
			s.notes.note(note{Server: s.serving(counts)})
		}
	}
}

func (s *server) serving(c liveness.Counts) *serving {
	v := &serving{Accepted: int(c.Accepted), Live: int(c.Live), Closed: make(map[string]int)}
	for reason, n := range c.Closed {
		v.Closed[reason.String()] = int(n)
	}
	v.Stalls = int(s.srv.Engine.Stats().Stalls)
	return v
}

func (s *server) starve(o starveOrder) { s.starved.begin(o, s.srv.Engine) }
func (s *server) mark()                { s.ends.mark() }

func (s *server) report(_ reportOrder, answer *note) {
	answer.Server = s.serving(s.srv.Counts(liveness.KindSession))
	if s.ends != nil {
		answer.Server.Ends = s.ends.read(s.srv.Engine)
	}
}
