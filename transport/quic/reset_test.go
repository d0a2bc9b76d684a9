package quic

import (
	"context"
	"testing"

	quicgo "github.com/quic-go/quic-go"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/transporttest"
)

// A listener resets the sessions of a killed one with the same address and key.
func TestRestartResetsSessions(t *testing.T) {
	serverTLS, clientTLS := transporttest.Certificates(t)
	server := Transport{TLS: serverTLS, StatelessResetKey: &quicgo.StatelessResetKey{1, 2, 3}}
	killed, err := server.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	client, err := Transport{TLS: clientTLS}.Dial(t.Context(), killed.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close(0, "")
	stream, err := client.OpenStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := killed.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	answer, err := accepted.OpenStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	answer.Write([]byte("x"))
	if _, err := client.AcceptStream(t.Context()); err != nil { // the handshake is complete
		t.Fatal(err)
	}
	killed.(*listener).ep.conn.Close() // nothing more is sent, as after SIGKILL
	killed.Close()
	restarted, err := server.Listen(t.Context(), killed.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer restarted.Close()
	// As short as a heartbeat.
	if _, err := stream.Write(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	wait(t, client.Context().Done())
	if e := context.Cause(client.Context()).(*transport.CloseError); e.Origin != transport.Peer || !e.Reset {
		t.Errorf("the session ended with %v", e)
	}
}
