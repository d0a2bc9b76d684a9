package quic_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/quic"
	"github.com/livenet/livenet/transport/transporttest"
)

// connect returns both ends of a session. The configs may be nil.
func connect(t *testing.T, clientConfig, serverConfig *quicgo.Config) (client, server transport.Session) {
	t.Helper()
	serverTLS, clientTLS := transporttest.Certificates(t)
	l, err := quic.Transport{TLS: serverTLS, Config: serverConfig}.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	client, err = quic.Transport{TLS: clientTLS, Config: clientConfig}.Dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(0, "") })
	server, err = l.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close(0, "") })
	return client, server
}

// streams opens a stream and writes hello to it, which accepted has not read yet.
func streams(t *testing.T, from, to transport.Session) (opened, accepted transport.Stream) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	opened, err := from.OpenStream(ctx)
	if err != nil {
		t.Fatalf("OpenStream: %v", err)
	}
	if _, err := io.WriteString(opened, "hello"); err != nil {
		t.Fatal(err)
	}
	accepted, err = to.AcceptStream(ctx)
	if err != nil {
		t.Fatalf("AcceptStream: %v", err)
	}
	return opened, accepted
}

// If the peer allows a single stream, the next one opens only when the last has ended.
func TestAnEndedStreamFreesItsSlot(t *testing.T) {
	for name, end := range map[string]func(opened, accepted transport.Stream){
		"closed unread":          func(opened, accepted transport.Stream) { accepted.Close(); opened.Close() },
		"closed by opener first": func(opened, accepted transport.Stream) { opened.Close(); accepted.Close() },
		"reset by opener":        func(opened, accepted transport.Stream) { opened.Reset(1); accepted.Close() },
		"reset by acceptor":      func(opened, accepted transport.Stream) { accepted.Reset(1); opened.Close() },
		"reset by both":          func(opened, accepted transport.Stream) { accepted.Reset(1); opened.Reset(1) },
		"reset after Close":      func(opened, accepted transport.Stream) { opened.Close(); opened.Reset(1); accepted.Close() },
		"half-closed, then closed": func(opened, accepted transport.Stream) {
			accepted.CloseWrite()
			opened.CloseWrite()
			accepted.Close()
			opened.Close()
		},
		"read to EOF, then written to": func(opened, accepted transport.Stream) {
			opened.Close()
			io.Copy(io.Discard, accepted)
			accepted.Write([]byte("anybody there?"))
			accepted.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			client, server := connect(t, nil, &quicgo.Config{MaxIncomingStreams: 1})
			for range 5 {
				end(streams(t, client, server))
			}
		})
	}
}

// After the peer's Close, Write's error says that the peer closed, and Read returns all that
// it wrote.
func TestReadAndWriteAfterThePeersClose(t *testing.T) {
	client, server := connect(t, nil, nil)
	opened, accepted := streams(t, client, server)
	opened.Close()
	var err error
	for err == nil {
		_, err = accepted.Write(make([]byte, 1<<10))
	}
	ce, ok := errors.AsType[*transport.CloseError](err)
	if !ok || ce.Origin != transport.Peer || ce.Reset {
		t.Errorf("Write: %v, want closed by the peer", err)
	}
	if got, err := io.ReadAll(accepted); string(got) != "hello" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
}

// Rule 12: if Close interrupts a Write, the peer reads a reset and not EOF.
func TestRule12CloseDuringWriteResets(t *testing.T) {
	client, server := connect(t, nil, &quicgo.Config{InitialStreamReceiveWindow: 64 << 10, MaxStreamReceiveWindow: 64 << 10})
	opened, accepted := streams(t, client, server)
	wrote := make(chan error, 1)
	go func() {
		_, err := opened.Write(make([]byte, 1<<20))
		wrote <- err
	}()
	if _, err := io.ReadFull(accepted, make([]byte, 32<<10)); err != nil { // Write is under way
		t.Fatal(err)
	}
	opened.Close()
	if err := <-wrote; err == nil {
		t.Fatal("Write succeeded, although the peer does not read")
	}
	if _, err := io.Copy(io.Discard, accepted); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read to %v, want a reset", err)
	}
}

// Rule 8: QUIC's idle timeout is not reported as a deadline of the application.
func TestRule8IdleTimeoutIsNoDeadline(t *testing.T) {
	client, server := connect(t, &quicgo.Config{MaxIdleTimeout: 100 * time.Millisecond}, nil)
	opened, _ := streams(t, client, server)
	_, err := opened.Read(make([]byte, 1))
	for what, err := range map[string]error{"Read": err, "cause": cause(client)} {
		ce, ok := errors.AsType[*transport.CloseError](err)
		if !ok || ce.Origin != transport.Lost || ce.Timeout() {
			t.Errorf("%s: %v, want lost", what, err)
		}
		if _, ok := errors.AsType[*quicgo.IdleTimeoutError](err); !ok {
			t.Errorf("%s: errors.As does not find the reason in %v", what, err)
		}
	}
}

func cause(s transport.Session) error {
	<-s.Context().Done()
	return context.Cause(s.Context())
}

// Rule 6: a close text too long for a packet is cut, so that the code still arrives.
func TestRule6ALongCloseTextIsCut(t *testing.T) {
	client, server := connect(t, nil, nil)
	client.Close(5, strings.Repeat("ä", 5000))
	ce := cause(server).(*transport.CloseError)
	if ce.Code != 5 || ce.Text != strings.Repeat("ä", 512) {
		t.Errorf("code %d, %d bytes of text", ce.Code, len(ce.Text))
	}
}

// Codes beyond QUIC's maximum are clamped and don't panic.
func TestHugeCodeIsClamped(t *testing.T) {
	client, server := connect(t, nil, nil)
	opened, accepted := streams(t, client, server)
	opened.Reset(1 << 63)
	_, err := io.Copy(io.Discard, accepted)
	if ce, ok := errors.AsType[*transport.CloseError](err); !ok || ce.Code != 1<<62-1 {
		t.Errorf("stream: %v", err)
	}
	client.Close(1<<63, "")
	if ce := cause(server).(*transport.CloseError); ce.Code != 1<<62-1 {
		t.Errorf("session: %v", ce)
	}
}

// Concurrent calls of AcceptStream miss no stream.
func TestAcceptStreamConcurrently(t *testing.T) {
	const n = 20
	client, server := connect(t, nil, nil)
	for range 10 {
		var accepting sync.WaitGroup
		for range n {
			accepting.Go(func() {
				stream, err := server.AcceptStream(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				stream.Close()
			})
		}
		for range n {
			stream, err := client.OpenStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			stream.Close() // FIN makes it visible to the peer
		}
		accepting.Wait()
	}
}

// More clients than fit quic-go's queue can connect before the first Accept.
func TestBacklog(t *testing.T) {
	const n = 100
	serverTLS, clientTLS := transporttest.Certificates(t)
	l, err := quic.Transport{TLS: serverTLS}.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var clients []transport.Session
	for range n {
		client, err := quic.Transport{TLS: clientTLS}.Dial(t.Context(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, client)
	}
	for range n {
		server, err := l.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close(0, "")
	}
	for _, client := range clients {
		if client.Context().Err() != nil {
			t.Errorf("refused: %v", cause(client))
		}
		client.Close(0, "")
	}
}

// The error of a failed handshake names the cause, and does not match net.ErrClosed.
func TestDialErrors(t *testing.T) {
	serverTLS, _ := transporttest.Certificates(t)
	_, stranger := transporttest.Certificates(t)
	l, err := quic.Transport{TLS: serverTLS}.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = quic.Transport{TLS: stranger}.Dial(t.Context(), l.Addr().String())
	if _, ok := errors.AsType[*tlsVerificationError](err); !ok {
		t.Errorf("untrusted certificate: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = quic.Transport{TLS: stranger}.Dial(ctx, "127.0.0.1:9") // no server
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no server: %v", err)
	}
}
