package yamux

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/tcp"
)

// rawClient returns an accepted session, and the bare connection at its other end.
func rawClient(t *testing.T) (ours *session, raw net.Conn) {
	t.Helper()
	l, err := Transport{Inner: tcp.Transport{}}.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	raw, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	s, err := l.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(0, "") })
	return s.(*session), raw
}

func rawServer(t *testing.T) (ours *session, raw net.Conn) {
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
	raw, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	return s.(*session), raw
}

// The other end is the library without this package.
func TestInterop(t *testing.T) {
	for role, connect := range map[string]func(*testing.T) (*session, *yamux.Session){
		"dials": func(t *testing.T) (*session, *yamux.Session) {
			ours, raw := rawServer(t)
			theirs, err := yamux.Server(raw, plainConfig)
			if err != nil {
				t.Fatal(err)
			}
			return ours, theirs
		},
		"accepts": func(t *testing.T) (*session, *yamux.Session) {
			ours, raw := rawClient(t)
			theirs, err := yamux.Client(raw, plainConfig)
			if err != nil {
				t.Fatal(err)
			}
			return ours, theirs
		},
	} {
		for name, test := range map[string]func(*testing.T, *session, *yamux.Session){
			"we open":       interopWeOpen,
			"they open":     interopTheyOpen,
			"we reset":      interopWeReset,
			"they do":       interopTheyReset,
			"we close":      interopWeClose,
			"with a code":   interopWeCloseWithCode,
			"they close":    interopTheyClose,
			"they go away":  interopTheyGoAway,
			"they ping":     interopTheyPing,
			"they write on": interopTheyWriteOn,
		} {
			t.Run(role+"/"+name, func(t *testing.T) {
				ours, theirs := connect(t)
				t.Cleanup(func() { theirs.Close() })
				test(t, ours, theirs)
			})
		}
	}
}

func interopStreams(t *testing.T, ours *session, theirs *yamux.Session) (transport.Stream, *yamux.Stream) {
	t.Helper()
	our, err := ours.OpenStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	their, err := theirs.AcceptStream()
	if err != nil {
		t.Fatal(err)
	}
	return our, their
}

func interopEcho(t *testing.T, our transport.Stream, their *yamux.Stream) {
	t.Helper()
	go func() {
		io.Copy(their, their)
		their.Close()
	}()
	body := bytes.Repeat([]byte("0123456789"), 100_000)
	go func() {
		our.Write(body)
		our.CloseWrite()
	}()
	if got, err := io.ReadAll(our); !bytes.Equal(got, body) || err != nil {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
	if err := our.Close(); err != nil {
		t.Error(err)
	}
}

func interopWeOpen(t *testing.T, ours *session, theirs *yamux.Session) {
	our, their := interopStreams(t, ours, theirs)
	interopEcho(t, our, their)
	settled(t, ours)
}

func interopTheyOpen(t *testing.T, ours *session, theirs *yamux.Session) {
	their, err := theirs.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	our, err := ours.AcceptStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	interopEcho(t, our, their)
	settled(t, ours)
}

func interopWeReset(t *testing.T, ours *session, theirs *yamux.Session) {
	our, their := interopStreams(t, ours, theirs)
	our.Reset(7)
	if _, err := their.Read(make([]byte, 1)); err != yamux.ErrConnectionReset {
		t.Errorf("their Read: %v", err)
	}
	settled(t, ours)
	our, their = interopStreams(t, ours, theirs) // the session goes on
	interopEcho(t, our, their)
}

// The library resets a stream that it does not want.
func interopTheyReset(t *testing.T, ours *session, theirs *yamux.Session) {
	if err := theirs.GoAway(); err != nil {
		t.Fatal(err)
	}
	for {
		our, err := ours.OpenStream(t.Context())
		if err != nil { // Go Away has come in
			ce, ok := errors.AsType[*transport.CloseError](err)
			if !ok || ce.Origin != transport.Peer {
				t.Errorf("OpenStream: %v", err)
			}
			break
		}
		if _, err := our.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("Read: %v", err)
		}
		our.Close()
	}
	settled(t, ours)
}

func interopWeClose(t *testing.T, ours *session, theirs *yamux.Session) {
	_, their := interopStreams(t, ours, theirs)
	ours.Close(0, "")
	if got, err := io.ReadAll(their); len(got) > 0 || err != nil {
		t.Errorf("their Read: %q, %v", got, err)
	}
	<-theirs.CloseChan()
}

func interopWeCloseWithCode(t *testing.T, ours *session, theirs *yamux.Session) {
	_, their := interopStreams(t, ours, theirs)
	ours.Close(3, "")
	io.ReadAll(their)
	<-theirs.CloseChan()
}

func interopTheyClose(t *testing.T, ours *session, theirs *yamux.Session) {
	our, _ := interopStreams(t, ours, theirs)
	theirs.Close()
	cause := causeOf(t, ours)
	if cause.Origin != transport.Peer || cause.HasCode {
		t.Errorf("cause: %+v", cause)
	}
	if _, err := our.Read(make([]byte, 1)); err != cause {
		t.Errorf("Read: %v", err)
	}
}

// A session goes on after Go Away.
func interopTheyGoAway(t *testing.T, ours *session, theirs *yamux.Session) {
	our, their := interopStreams(t, ours, theirs)
	if err := theirs.GoAway(); err != nil {
		t.Fatal(err)
	}
	interopEcho(t, our, their)
	theirs.Close()
	// The library's kernel sends a reset if the library had not read everything.
	if cause := causeOf(t, ours); cause.Origin != transport.Peer || cause.HasCode == cause.Reset || cause.Code != 0 {
		t.Errorf("cause: %+v", cause)
	}
}

func interopTheyPing(t *testing.T, ours *session, theirs *yamux.Session) {
	for range pingBurst / 2 {
		if _, err := theirs.Ping(); err != nil {
			t.Fatal(err)
		}
	}
	if ours.Context().Err() != nil {
		t.Errorf("ended: %v", causeOf(t, ours))
	}
}

// Only a reset makes the library stop sending on a stream that is closed here.
func interopTheyWriteOn(t *testing.T, ours *session, theirs *yamux.Session) {
	our, their := interopStreams(t, ours, theirs)
	if _, err := their.Write(make([]byte, window)); err != nil { // fills the window
		t.Fatal(err)
	}
	our.Close()
	var err error
	for err == nil {
		_, err = their.Write(make([]byte, 1<<10))
	}
	if err != yamux.ErrConnectionReset {
		t.Errorf("their Write: %v", err)
	}
	settled(t, ours)
}

// Rule 5: each kind of invalid frame ends the session with its own error.
func TestRule5InvalidFramesEndTheSession(t *testing.T) {
	for _, test := range []struct {
		name   string
		frames []byte
		want   error
	}{
		{"pings", bytes.Repeat(newHeader(typePing, flagSYN, 0, 1), 2*pingBurst), ErrPingFlood},
		{"our numbers", newHeader(typeWindowUpdate, flagSYN, 2, 0), errProtocol},
		{"the same number twice", bytes.Repeat(newHeader(typeWindowUpdate, flagSYN, 1, 0), 2), errProtocol},
		{"number 0", newHeader(typeWindowUpdate, flagSYN, 0, 0), errProtocol},
		{"a number again before its stream was read", slices.Concat(dataFrame(flagSYN|flagFIN, 1, "data"),
			newHeader(typeWindowUpdate, flagSYN, 1, 0)), errProtocol},
		{"another version", append([]byte{1}, newHeader(typePing, flagACK, 0, 0)[1:]...), errProtocol},
		{"another type", newHeader(9, 0, 0, 0), errProtocol},
		{"more than the window", append(append([]byte(nil), newHeader(typeWindowUpdate, flagSYN, 1, 0)...),
			append(newHeader(typeData, 0, 1, window+1), make([]byte, window+1)...)...), errProtocol},
		{"more than any window, so it says", newHeader(typeData, flagSYN, 1, window+1), errProtocol},
	} {
		t.Run(test.name, func(t *testing.T) {
			ours, raw := rawClient(t)
			go io.Copy(io.Discard, raw)
			raw.Write(test.frames)
			if ce := causeOf(t, ours); ce.Origin != transport.Lost || ce.Err != test.want {
				t.Errorf("cause: %+v", ce)
			}
		})
	}
}

// acceptSoon accepts a stream, or fails the test after some time.
func acceptSoon(t *testing.T, s *session) *stream {
	t.Helper()
	type result struct {
		transport.Stream
		error
	}
	done := make(chan result, 1)
	go func() {
		st, err := s.AcceptStream(t.Context())
		done <- result{st, err}
	}()
	select {
	case r := <-done:
		if r.error != nil {
			t.Fatalf("AcceptStream: %v", r.error)
		}
		return r.Stream.(*stream)
	case <-time.After(maxWait):
		t.Fatal("AcceptStream does not return")
		return nil
	}
}

// soon fails the test if do takes too long.
func soon(t *testing.T, what string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	select {
	case <-done:
	case <-time.After(maxWait):
		t.Fatalf("%s does not return", what)
	}
}

// halfFrame returns the first part of a frame that opens stream 1, and the rest of it.
func halfFrame(size int) (half, rest []byte) {
	frame := dataFrame(flagSYN, 1, string(bytes.Repeat([]byte("0123456789"), size/10)))
	at := headerSize + size/2
	return frame[:at], frame[at:]
}

// Rule 14: a peer that stops in the middle of a frame blocks no call past its deadline or
// Close. What it has sent can be read, and so can the rest when it comes.
func TestRule14AHalfFrameBlocksNoCall(t *testing.T) {
	for name, size := range map[string]int{"short": 10, "long": window / 10 * 10} {
		t.Run(name, func(t *testing.T) {
			ours, raw := rawClient(t)
			half, rest := halfFrame(size)
			raw.Write(half)
			stream := acceptSoon(t, ours)

			var got []byte
			read := func(n int, want error) {
				t.Helper()
				soon(t, "Read", func() {
					p := make([]byte, n)
					n, err := io.ReadFull(stream, p)
					got = append(got, p[:n]...)
					if !errors.Is(err, want) {
						t.Errorf("Read: %d, %v, want %v", n, err, want)
					}
				})
			}
			read(size/2, nil)
			stream.SetReadDeadline(time.Now().Add(time.Millisecond))
			read(1, os.ErrDeadlineExceeded)
			soon(t, "Write", func() { stream.Write([]byte("answer")) })

			stream.SetReadDeadline(time.Time{})
			raw.Write(rest)
			raw.Write(dataFrame(flagFIN, 1, "end"))
			read(size/2+3, nil)
			read(1, io.EOF)
			if want := append(append(half[headerSize:], rest...), "end"...); !bytes.Equal(got, want) {
				t.Errorf("read %d bytes, of %d, that are not the same", len(got), len(want))
			}
			soon(t, "Close", func() { stream.Close() })
			settled(t, ours)
		})
	}
}

// Rule 12: a stream can be ended in the middle of a frame, and nothing of it is kept.
func TestRule12AStreamCanEndWithinAFrame(t *testing.T) {
	for name, end := range map[string]func(*stream){
		"Close":           func(s *stream) { s.Close() },
		"Reset":           func(s *stream) { s.Reset(1) },
		"CloseWrite":      func(s *stream) { s.CloseWrite(); s.Close() },
		"Close and Reset": func(s *stream) { s.Close(); s.Reset(1) },
	} {
		t.Run(name, func(t *testing.T) {
			ours, raw := rawClient(t)
			half, rest := halfFrame(window / 10 * 10)
			raw.Write(half)
			stream := acceptSoon(t, ours)
			soon(t, "the end", func() { end(stream) })

			other, err := ours.OpenStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			other.Reset(1) // not acknowledged
			eventually(t, "the other stream is forgotten", func() bool {
				entries, _, unacked, inYamux := left(ours)
				return entries <= 1 && inYamux <= 1 && unacked == 0
			})
			raw.Write(rest)
			raw.Write(dataFrame(0, 1, "0123456789")) // exceeds the half window, so the stream is reset
			settled(t, ours)

			raw.Write(dataFrame(flagSYN, 3, "next"))
			got := make([]byte, 4)
			if _, err := io.ReadFull(acceptSoon(t, ours), got); string(got) != "next" || err != nil {
				t.Errorf("the next stream: %q, %v", got, err)
			}
		})
	}
	t.Run("Session.Close", func(t *testing.T) {
		ours, raw := rawClient(t)
		half, _ := halfFrame(100)
		raw.Write(half)
		stream := acceptSoon(t, ours)
		soon(t, "Session.Close", func() { ours.Close(0, "") })
		if _, err := stream.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read: %v", err)
		}
	})
}

// A connection lost within a frame with FIN is not EOF.
func TestHalfFrameIsNotEOF(t *testing.T) {
	ours, raw := rawClient(t)
	raw.Write(dataFrame(flagSYN|flagFIN, 1, "whole")[:headerSize+2])
	stream := acceptSoon(t, ours)
	raw.Close()
	causeOf(t, ours)
	if got, err := io.ReadAll(stream); string(got) != "wh" || err == nil {
		t.Errorf("read %q, %v", got, err)
	}
}

// A peer that pings within the limit gets every answer.
func TestPingsWithinTheLimitAreAnswered(t *testing.T) {
	_, raw := rawClient(t)
	raw.Write(bytes.Repeat(newHeader(typePing, flagSYN, 0, 1), pingBurst))
	got := make([]byte, pingBurst*headerSize)
	if _, err := io.ReadFull(raw, got); err != nil {
		t.Fatal(err)
	}
	if want := bytes.Repeat(newHeader(typePing, flagACK, 0, 1), pingBurst); !bytes.Equal(got, want) {
		t.Errorf("got %x", got)
	}
}
