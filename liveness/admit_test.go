package liveness_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

// A session that is accepted while its server ends has one end and one reason like any
// other; its peer is told, and nothing of it is left.
func TestRule5ASessionAcceptedDuringShutdownIsEnded(t *testing.T) {
	ends := map[string]func(*world){
		"closed":   func(w *world) { w.srv.Close() },
		"draining": func(w *world) { w.stop() },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			bothKinds(t, func(t *testing.T, tr transport.Transport) {
				comeTooLate(t, &Server{Handler: echo}, tr, end)
			})
			t.Run("fed", func(t *testing.T) {
				comeTooLate(t, &Server{Data: func(*Conn, []byte) error { return nil }}, networks(t)["tcp"], end)
			})
		})
	}
}

func comeTooLate(t *testing.T, srv *Server, tr transport.Transport, end func(*world)) {
	srv.Policy, srv.Codec = Sliding(time.Hour), codec.Auto
	worlds := make(chan *world, 1)
	w := serve(t, srv, endsMeanwhile{tr, func() { end(<-worlds) }})
	worlds <- w
	sess, err := w.net.Dial(t.Context(), w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer sess.Close(0, "")
	w.served <- <-w.served // it returns by itself
	w.end()
	if e := w.one(KindSession); e.End.Reason != Draining || e.End.Initiator != Local {
		t.Errorf("ended %v", e.End)
	}
	if n := srv.Counts(KindSession).Accepted; n != 1 {
		t.Errorf("%d accepted", n)
	}
	if n := srv.Engine.Stats().Live; n != 0 {
		t.Errorf("%d leases are live", n)
	}
	if sess.Multiplexed() { // then it can say why
		<-sess.Context().Done()
		var told *transport.CloseError
		if !errors.As(context.Cause(sess.Context()), &told) || told.Code != Draining.Code() {
			t.Errorf("the peer got %v", context.Cause(sess.Context()))
		}
		return
	}
	st, err := sess.OpenStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the peer reads %v", err)
	}
}

// An endsMeanwhile calls end while a session is being accepted.
type endsMeanwhile struct {
	transport.Transport
	end func()
}

func (m endsMeanwhile) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	l, err := m.Transport.Listen(ctx, addr)
	return listenerEndsMeanwhile{l, m.end}, err
}

type listenerEndsMeanwhile struct {
	transport.Listener
	end func()
}

func (l listenerEndsMeanwhile) Accept(ctx context.Context) (transport.Session, error) {
	sess, err := l.Listener.Accept(ctx)
	if err == nil {
		l.end()
	}
	return sess, err
}
