package quic

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/transporttest"
)

// pair returns both ends of a session, and the listener.
func pair(t *testing.T) (client, server *session, l *listener) {
	t.Helper()
	serverTLS, clientTLS := transporttest.Certificates(t)
	inner, err := Transport{TLS: serverTLS}.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l = inner.(*listener)
	t.Cleanup(func() { l.Close() })
	dialled, err := Transport{TLS: clientTLS}.Dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialled.Close(0, ""); accepted.Close(0, "") })
	return dialled.(*session), accepted.(*session), l
}

// The socket is closed when the listener and all sessions have ended.
func TestSocketClosesWithTheLastReference(t *testing.T) {
	t.Run("SessionLast", func(t *testing.T) {
		_, server, l := pair(t)
		l.Close()
		select {
		case <-l.ep.closed:
			t.Fatal("the socket was closed with the listener although a session is open")
		default:
		}
		stream, err := server.OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Write([]byte("still here")); err != nil {
			t.Fatal(err)
		}
		server.Close(0, "")
		wait(t, l.ep.closed)
	})
	t.Run("ListenerLast", func(t *testing.T) {
		client, server, l := pair(t)
		client.Close(0, "")
		wait(t, server.ctx.Done())
		l.Close()
		wait(t, l.ep.closed)
	})
	t.Run("RefusedOnly", func(t *testing.T) {
		serverTLS, clientTLS := transporttest.Certificates(t)
		inner, err := Transport{TLS: serverTLS}.Listen(t.Context(), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		client, err := Transport{TLS: clientTLS}.Dial(t.Context(), inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		inner.Close() // before Accept
		wait(t, client.Context().Done())
		if e := context.Cause(client.Context()).(*transport.CloseError); e.Origin != transport.Peer {
			t.Errorf("the session that was not accepted ended with %v", e)
		}
		wait(t, inner.(*listener).ep.closed)
	})
}

// If a listener's socket has broken, Accept returns an error that matches net.ErrClosed.
// Otherwise an accept loop would retry for ever.
func TestAcceptOnABrokenSocketReturnsErrClosed(t *testing.T) {
	_, _, l := pair(t)
	l.ep.conn.Close()
	_, err := l.Accept(t.Context())
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
}

func wait(t *testing.T, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("nothing happened for ten seconds")
	}
}
