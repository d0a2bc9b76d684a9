package yamux

import (
	"context"
	"io"
	"maps"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/livenet/livenet/transport/tcp"
)

// OpenStream waits while too many streams are unacknowledged. AcceptStream acknowledges.
func TestUnacknowledgedStreamsAreLimited(t *testing.T) {
	client, server := connect(t)
	for _, test := range []struct {
		name     string
		from, to *session
		most     int
	}{
		{"client", client, server, backlog},
		{"server", server, client, serverBacklog},
	} {
		t.Run(test.name, func(t *testing.T) {
			for i := range test.most {
				if _, err := test.from.OpenStream(t.Context()); err != nil {
					t.Fatalf("stream %d: %v", i, err)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), quiet)
			defer cancel()
			if _, err := test.from.OpenStream(ctx); err != context.DeadlineExceeded {
				t.Fatalf("one too many: %v", err)
			}
			for i := range test.most {
				if _, err := test.to.AcceptStream(t.Context()); err != nil {
					t.Fatalf("stream %d: %v", i, err)
				}
				if _, err := test.from.OpenStream(t.Context()); err != nil {
					t.Fatalf("in the place of stream %d: %v", i, err)
				}
			}
		})
	}
}

// raw returns an accepted session, and the connection at the other end.
func raw(t *testing.T) (net.Conn, *session) {
	t.Helper()
	l, err := Transport{Inner: tcp.Transport{}}.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(maxWait))
	s, err := l.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(0, "") })
	return conn, s.(*session)
}

// If a peer opens more streams at once than it may, those beyond the limit are reset.
func TestStreamsBeyondTheBacklogAreReset(t *testing.T) {
	conn, server := raw(t)
	const more = 50
	var all []byte
	for i := range uint32(backlog + more) {
		all = append(all, newHeader(typeWindowUpdate, flagSYN, 2*i+1, 0)...)
	}
	conn.Write(all)
	h := make(header, headerSize)
	for i := range uint32(more) {
		if _, err := io.ReadFull(conn, h); err != nil {
			t.Fatal(err)
		}
		if want := 2*(backlog+i) + 1; h.typ() != typeWindowUpdate || h.flags() != flagRST || h.id() != want || h.length() != 0 {
			t.Fatalf("% x, not a reset of %d", []byte(h), want)
		}
	}
	for i := range uint32(backlog) {
		s, err := server.AcceptStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if id := s.(*stream).id; id != 2*i+1 {
			t.Fatalf("stream %d came instead of %d", id, 2*i+1)
		}
		if _, err := io.ReadFull(conn, h); err != nil {
			t.Fatal(err)
		}
		if h.typ() != typeWindowUpdate || h.flags() != flagACK || h.id() != 2*i+1 || h.length() != 0 {
			t.Fatalf("% x, not an answer to %d", []byte(h), 2*i+1)
		}
	}
	if _, err := server.AcceptStream(cancelled()); err != context.Canceled {
		t.Errorf("then %v", err)
	}
}

// Data that arrives before AcceptStream can be read afterwards. Each stream is acknowledged
// once, even if the peer has ended it. A stream that the peer has reset is still accepted,
// and not acknowledged.
func TestStreamsThatEndBeforeAcceptStream(t *testing.T) {
	conn, server := raw(t)
	conn.Write(dataFrame(flagSYN|flagFIN, 1, "whole"))
	conn.Write(dataFrame(flagSYN, 3, "half"))
	conn.Write(newHeader(typeWindowUpdate, flagSYN, 5, 0))
	conn.Write(newHeader(typeWindowUpdate, flagRST, 5, 0))
	conn.Write(newHeader(typePing, flagSYN, 0, 9))
	h := make(header, headerSize)
	if _, err := io.ReadFull(conn, h); err != nil || h.typ() != typePing {
		t.Fatalf("% x, %v: a frame was sent before a stream was accepted", []byte(h), err)
	}
	for _, want := range []string{"whole", "half", ""} {
		s, err := server.AcceptStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 10)
		if n, err := s.Read(p); string(p[:n]) != want || (err != nil) != (want == "") {
			t.Errorf("read %q, %v, not %q", p[:n], err, want)
		}
	}
	conn.Write(newHeader(typePing, flagSYN, 0, 10))
	answered := map[uint32]int{}
	for {
		if _, err := io.ReadFull(conn, h); err != nil {
			t.Fatal(err)
		}
		if h.typ() == typePing && h.length() == 10 {
			break
		}
		if h.has(flagACK) {
			answered[h.id()]++
		}
	}
	if want := map[uint32]int{1: 1, 3: 1}; !maps.Equal(answered, want) {
		t.Errorf("answered: %v, want %v", answered, want)
	}
}

// The library as the peer gets its acknowledgements.
func TestLibraryAsPeerIsAcknowledged(t *testing.T) {
	conn, server := raw(t)
	theirs, err := yamux.Client(conn, plainConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	for range 2 * backlog {
		their, err := theirs.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		our, err := server.AcceptStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(our, "x")
		if _, err := io.ReadFull(their, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		their.Close()
		our.Close()
	}
}
