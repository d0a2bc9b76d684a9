package yamux

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/quic"
	"github.com/livenet/livenet/transport/tcp"
	"github.com/livenet/livenet/transport/transporttest"
)

// maxWait is the longest that a test waits for something that has to happen.
const maxWait = 10 * time.Second

// connect returns both ends of a session over TCP.
func connect(t *testing.T) (client, server *session) {
	t.Helper()
	yamuxTCP := Transport{Inner: tcp.Transport{}}
	l, err := yamuxTCP.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := yamuxTCP.Dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialled.Close(0, "") })
	accepted, err := l.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { accepted.Close(0, "") })
	return dialled.(*session), accepted.(*session)
}

// streams returns both ends of a new stream.
func streams(t *testing.T, from, to transport.Session) (opened, accepted *stream) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), maxWait)
	defer cancel()
	a, err := from.OpenStream(ctx)
	if err != nil {
		t.Fatalf("OpenStream: %v", err)
	}
	b, err := to.AcceptStream(ctx)
	if err != nil {
		t.Fatalf("AcceptStream: %v", err)
	}
	return a.(*stream), b.(*stream)
}

// causeOf waits for the end of a session and returns its cause.
func causeOf(t *testing.T, s transport.Session) *transport.CloseError {
	t.Helper()
	select {
	case <-s.Context().Done():
	case <-time.After(maxWait):
		t.Fatal("the session does not end")
	}
	return context.Cause(s.Context()).(*transport.CloseError)
}

// Rule 6: the code of Session.Close reaches the peer if it fits in 32 bits; the text does not.
func TestRule6SessionCodesReachThePeer(t *testing.T) {
	const peer = transport.Peer
	for _, test := range []struct {
		code uint64
		want transport.CloseError
	}{
		{0, transport.CloseError{Origin: peer, HasCode: true}},
		{2, transport.CloseError{Origin: peer, HasCode: true, Code: 2}},
		{1<<32 - 1, transport.CloseError{Origin: peer, HasCode: true, Code: 1<<32 - 1}},
		{1 << 32, transport.CloseError{Origin: peer}},
	} {
		for _, by := range []string{"client", "server"} {
			here, there := connect(t)
			if by == "server" {
				here, there = there, here
			}
			_, stream := streams(t, here, there)
			here.Close(test.code, "words")
			if got := causeOf(t, there); *got != test.want {
				t.Errorf("%s closes with code %d: the peer sees %+v", by, test.code, got)
			}
			_, err := io.Copy(io.Discard, stream)
			if ce, ok := errors.AsType[*transport.CloseError](err); !ok || *ce != test.want {
				t.Errorf("%s closes with code %d: the peer's stream sees %+v", by, test.code, err)
			}
			want := transport.CloseError{HasCode: true, Code: test.code, Text: "words"}
			if got := causeOf(t, here); *got != want {
				t.Errorf("%s closes with code %d: itself it sees %+v", by, test.code, got)
			}
		}
	}
}

// A lost connection is not EOF.
func TestLostIsNotEOF(t *testing.T) {
	client, server := connect(t)
	opened, accepted := streams(t, client, server)
	ended, endless := accepted, opened
	if _, err := io.WriteString(opened, "whole"); err != nil {
		t.Fatal(err)
	}
	opened.CloseWrite()
	if _, err := io.WriteString(accepted, "half"); err != nil {
		t.Fatal(err)
	}
	// Each has arrived before the connection is lost.
	if _, err := io.ReadFull(ended, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(endless, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	streams(t, client, server) // by now FIN has arrived as well
	server.NetConn().(transport.Stream).Reset(0)

	if got, err := io.ReadAll(endless); string(got) != "alf" || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the stream that was not ended: %q, %v", got, err)
	}
	if ce := causeOf(t, client); ce.Origin != transport.Peer || !ce.Reset {
		t.Errorf("cause: %v", ce)
	}
	// The test reset the server's connection below the session. Close waits until all
	// goroutines have ended.
	causeOf(t, server)
	server.Close(0, "")
	if _, err := io.ReadAll(ended); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the other end: %v", err)
	}
}

// A stream that has ended before the session still reads EOF afterwards.
func TestEOFOutlivesSession(t *testing.T) {
	client, server := connect(t)
	opened, accepted := streams(t, client, server)
	if _, err := io.WriteString(opened, "whole"); err != nil {
		t.Fatal(err)
	}
	opened.CloseWrite()
	streams(t, client, server) // by now FIN has arrived
	client.Close(3, "")
	causeOf(t, server)
	if got, err := io.ReadAll(accepted); string(got) != "whole" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// left counts what a session still holds of streams.
func left(s *session) (entries, lingering, unacked, inYamux int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams), len(s.lingering), len(s.unacked), s.mux.NumStreams()
}

// eventually polls is: nothing notifies of the change.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(maxWait); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// settled waits until the library and the wire hold no streams.
func settled(t *testing.T, s *session) {
	t.Helper()
	eventually(t, "settled", func() bool {
		entries, lingering, unacked, inYamux := left(s)
		return entries+lingering+unacked+inYamux == 0
	})
}

// Rule 12: however a stream ends, neither end keeps anything of it.
func TestRule12NothingIsKeptOfAnEndedStream(t *testing.T) {
	unread := make([]byte, window)
	for name, end := range map[string]func(opened, accepted *stream){
		"closed":           func(opened, accepted *stream) { opened.Close(); accepted.Close() },
		"half-closed":      func(opened, accepted *stream) { opened.CloseWrite(); accepted.CloseWrite() },
		"closed, unread":   func(opened, accepted *stream) { opened.Write(unread); accepted.Close(); opened.Close() },
		"reset by opener":  func(opened, accepted *stream) { opened.Reset(1) },
		"reset, unread":    func(opened, accepted *stream) { opened.Write(unread); accepted.Reset(1) },
		"reset by both":    func(opened, accepted *stream) { opened.Reset(1); accepted.Reset(1) },
		"closed and reset": func(opened, accepted *stream) { opened.Close(); opened.Reset(1) },
		"closed, written to for ever": func(opened, accepted *stream) {
			accepted.Close()
			for err := error(nil); err == nil; {
				_, err = opened.Write(unread)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			client, server := connect(t)
			for range 10 {
				end(streams(t, client, server))
			}
			settled(t, client)
			settled(t, server)
		})
	}
}

// A stream that is reset before the peer accepts it no longer counts as unacknowledged.
func TestResetOfAnUnacknowledgedStream(t *testing.T) {
	client, server := connect(t)
	for range 4 * backlog {
		stream, err := client.OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		stream.Reset(1)
		accepted, err := server.AcceptStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := accepted.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("read %v", err)
		}
	}
	settled(t, client)
	settled(t, server)
}

// A peer that never ends its direction can keep only a limited number of closed streams here.
func TestLingeringStreamsAreLimited(t *testing.T) {
	client, server := connect(t)
	var opened []*stream
	for range maxLingering + 10 {
		here, there := streams(t, client, server)
		there.Close()
		opened = append(opened, here)
	}
	for i, stream := range opened[:10] {
		for err := error(nil); !errors.Is(err, syscall.ECONNRESET); { // net.ErrClosed before
			if _, err = stream.Write([]byte("x")); err != nil && !errors.Is(err, syscall.ECONNRESET) {
				t.Fatalf("stream %d: %v", i, err)
			}
		}
	}
	if _, err := opened[len(opened)-1].Write([]byte("x")); err != nil {
		t.Errorf("the last one: %v", err)
	}
	eventually(t, "as many linger as may", func() bool {
		_, lingering, _, inYamux := left(server)
		return lingering == maxLingering && inYamux == maxLingering
	})
}

// Rule 12: if Close interrupts a Write, the peer reads a reset and not EOF.
func TestRule12CloseDuringWriteResets(t *testing.T) {
	client, server := connect(t)
	opened, accepted := streams(t, client, server)
	wrote := make(chan error, 1)
	go func() {
		_, err := opened.Write(make([]byte, 4*window))
		wrote <- err
	}()
	if _, err := io.ReadFull(accepted, make([]byte, window)); err != nil { // it is under way
		t.Fatal(err)
	}
	opened.Close()
	if err := <-wrote; !errors.Is(err, net.ErrClosed) {
		t.Fatalf("Write: %v", err)
	}
	if _, err := io.Copy(io.Discard, accepted); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read to %v, want a reset", err)
	}
}

// Rule 12: if CloseWrite interrupts a Write, the stream is reset. A blocked Read at this end
// returns net.ErrClosed.
func TestRule12CloseWriteDuringWriteResets(t *testing.T) {
	client, server := connect(t)
	opened, accepted := streams(t, client, server)
	wrote := make(chan error, 1)
	go func() {
		_, err := opened.Write(make([]byte, 4*window))
		wrote <- err
	}()
	if _, err := io.ReadFull(accepted, make([]byte, window)); err != nil { // it is under way
		t.Fatal(err)
	}
	w := make(woken, 2)
	opened.WakeOnRead(w)
	read := make(chan error, 1)
	go func() {
		_, err := opened.Read(make([]byte, 1))
		read <- err
	}()
	opened.CloseWrite()
	if err := <-wrote; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write: %v", err)
	}
	err := <-read
	if ce, ok := errors.AsType[*transport.CloseError](err); !ok || ce.Origin != transport.Local || !ce.Reset {
		t.Errorf("Read: %v", err)
	}
	w.wait(t)
	if n, tryErr := opened.TryRead(make([]byte, 1)); n != 0 || tryErr != err {
		t.Errorf("TryRead: %d, %v; Read: %v", n, tryErr, err)
	}
	w.not(t)
	if _, err := io.Copy(io.Discard, accepted); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the peer read to %v, want a reset", err)
	}
	settled(t, client)
	settled(t, server)
}

// CloseWrite does not reset a stream, or change its cause, if a Write was interrupted by the
// end of the stream or session.
func TestCloseWriteAfterTheEndKeepsTheCause(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(there *stream)
		code uint64
	}{
		"the peer's reset":         {func(there *stream) { there.Reset(9) }, 9},
		"the peer's session's end": {func(there *stream) { there.session.Close(3, "") }, 3},
	} {
		t.Run(name, func(t *testing.T) {
			client, server := connect(t)
			opened, accepted := streams(t, client, server)
			test.end(accepted)
			w := make(woken, 1)
			opened.WakeOnRead(w)
			w.wait(t)
			// As if a Write ended after CloseWrite has begun.
			opened.writes.Write(func() (int, error) { return 1, net.ErrClosed })
			opened.CloseWrite()
			_, err := opened.Read(make([]byte, 1))
			if ce, ok := errors.AsType[*transport.CloseError](err); !ok || ce.Origin != transport.Peer || ce.Code != test.code {
				t.Errorf("Read: %v", err)
			}
		})
	}
}

// silentPeer returns a session whose peer neither reads nor writes.
func silentPeer(t *testing.T) (*session, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := Transport{Inner: tcp.Transport{}}.Dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(0, "") })
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return s.(*session), conn
}

// blocked fills the connection from many streams. It returns one of them during a Write, and
// a channel with the error of that Write.
func blocked(t *testing.T, s *session) (*stream, <-chan error) {
	t.Helper()
	for {
		opened, err := s.OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		stream := opened.(*stream)
		stream.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		n, err := stream.Write(make([]byte, window))
		if err == nil {
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("Write: %d, %v, want its deadline", n, err)
		}
		stream.SetWriteDeadline(time.Time{})
		ended := make(chan error, 1)
		started := make(chan struct{})
		go func() {
			close(started)
			_, err := stream.Write(make([]byte, window))
			ended <- err
		}()
		<-started
		return stream, ended
	}
}

// Rule 14: calls of a stream never wait for a blocked connection: deadlines (as blocked
// shows), Close, Reset, and the session's Close.
func TestRule14ABlockedConnectionBlocksNoCall(t *testing.T) {
	for name, end := range map[string]func(*stream){
		"Close":         func(s *stream) { s.Close() },
		"Reset":         func(s *stream) { s.Reset(1) },
		"CloseWrite":    func(s *stream) { s.CloseWrite() },
		"Session.Close": func(s *stream) { s.session.Close(1, "") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := silentPeer(t)
			stream, ended := blocked(t, s)
			end(stream)
			select {
			case err := <-ended:
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("Write: %v", err)
				}
			case <-time.After(maxWait):
				t.Fatal("Write does not return")
			}
		})
	}
	t.Run("the peer resets", func(t *testing.T) { // it sends, and does not read
		t.Parallel()
		s, raw := silentPeer(t)
		stream, ended := blocked(t, s)
		raw.Write(resetFrame(stream.id, 9))
		err := <-ended
		if ce, ok := errors.AsType[*transport.CloseError](err); !ok || !ce.Reset || ce.Code != 9 {
			t.Errorf("Write: %v", err)
		}
	})
	t.Run("the peer goes", func(t *testing.T) {
		t.Parallel()
		s, _ := silentPeer(t)
		_, ended := blocked(t, s)
		s.NetConn().(transport.Stream).Reset(0) // as after a TCP timeout
		if err := <-ended; err == nil {
			t.Error("Write succeeded")
		}
		causeOf(t, s)
	})
}

// Inner sessions must not be multiplexed.
func TestInnerMustBeASingleStream(t *testing.T) {
	serverTLS, clientTLS := transporttest.Certificates(t)
	l, err := Transport{Inner: quic.Transport{TLS: serverTLS}}.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := (Transport{Inner: quic.Transport{TLS: clientTLS}}).Dial(t.Context(), l.Addr().String()); err != errMultiplexed {
		t.Errorf("Dial: %v", err)
	}
	if _, err := (Transport{}).Dial(t.Context(), l.Addr().String()); err != errNoInner {
		t.Errorf("Dial without Inner: %v", err)
	}
}

// NetConn leads to the socket, which liveness needs to read TCP_INFO.
func TestNetConnLeadsToTheSocket(t *testing.T) {
	_, server := connect(t)
	var conn net.Conn = server.NetConn()
	for {
		outer, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		conn = outer.NetConn()
	}
	if _, ok := conn.(*net.TCPConn); !ok {
		t.Errorf("at the bottom is a %T", conn)
	}
}

type idleTimeouter struct{ transport.Listener }

func (idleTimeouter) IdleTimeout() time.Duration { return time.Minute }

// Rule 9: a listener reports the idle timeout of its inner listener.
func TestRule9ListenerReportsTheInnerIdleTimeout(t *testing.T) {
	if got := (listener{idleTimeouter{}, nil}).IdleTimeout(); got != time.Minute {
		t.Errorf("over a listener with an idle timeout of a minute: %v", got)
	}
	if got := (listener{}).IdleTimeout(); got != 0 {
		t.Errorf("over one that does not say: %v", got)
	}
}

// held is a connection that can hold back its input.
type held struct {
	transport.Stream
	holds  chan struct{} // takes a token: what the next Read gets is kept back
	got    chan struct{} // closed then
	handOn chan struct{} // closed to hand it on
}

func (h *held) Read(p []byte) (int, error) {
	n, err := h.Stream.Read(p)
	select {
	case <-h.holds:
		close(h.got)
		<-h.handOn
	default:
	}
	return n, err
}

// A frame that arrives while its stream is closed is dropped, and still opens the window: a
// peer that has used up its window does not block.
func TestFrameDuringCloseIsDropped(t *testing.T) {
	for name, size := range map[string]int{
		"all that the window has room for": window,
		"more than half":                   window/2 + 1,
		"a bit":                            1,
	} {
		t.Run(name, func(t *testing.T) {
			l, err := tcp.Transport{}.Listen(t.Context(), "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			raw, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := yamux.Client(raw, plainConfig)
			if err != nil {
				t.Fatal(err)
			}
			defer theirs.Close()
			inner, err := l.Accept(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			conn, err := inner.AcceptStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			h := &held{Stream: conn, holds: make(chan struct{}, 1), got: make(chan struct{}), handOn: make(chan struct{})}
			ours := newSession(inner, h, server, nil)
			defer ours.Close(0, "")

			their, err := theirs.OpenStream()
			if err != nil {
				t.Fatal(err)
			}
			our, err := ours.AcceptStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			h.holds <- struct{}{}
			their.SetWriteDeadline(time.Now().Add(maxWait))
			if _, err := their.Write(make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			<-h.got
			our.Close()
			close(h.handOn)
			for err == nil {
				_, err = their.Write(make([]byte, 1<<10))
			}
			if err != yamux.ErrConnectionReset {
				t.Errorf("their Write: %v", err)
			}
			settled(t, ours)
		})
	}
}

// Several goroutines may read a stream at once, also at its end.
func TestConcurrentReads(t *testing.T) {
	client, server := connect(t)
	opened, accepted := streams(t, client, server)
	if _, err := opened.Write(make([]byte, window)); err != nil {
		t.Fatal(err)
	}
	opened.CloseWrite()
	streams(t, client, server) // by now all has arrived
	var total atomic.Int64
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for p := make([]byte, 16); ; {
				n, err := accepted.Read(p)
				total.Add(int64(n))
				if err == io.EOF {
					return
				}
				if err != nil {
					t.Errorf("Read: %v", err)
					return
				}
			}
		})
	}
	soon(t, "Read", wg.Wait)
	if got := total.Load(); got != window {
		t.Errorf("read %d bytes of %d", got, window)
	}
}

// Every concurrent Read obeys the deadline.
func TestConcurrentReadsObeyTheDeadline(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(*stream)
		want error
	}{
		"a deadline": {func(s *stream) { s.SetReadDeadline(longAgo) }, os.ErrDeadlineExceeded},
		"Close":      {func(s *stream) { s.Close() }, net.ErrClosed},
		"Reset":      {func(s *stream) { s.Reset(1) }, net.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			client, server := connect(t)
			opened, _ := streams(t, client, server)
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					if n, err := opened.Read(make([]byte, 1)); n != 0 || !errors.Is(err, test.want) {
						t.Errorf("Read: %d, %v, want %v", n, err, test.want)
					}
				})
			}
			test.end(opened)
			soon(t, "Read", wg.Wait)
		})
	}
}
