package yamux

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/hashicorp/yamux"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/tcp"
)

// rawClient returns a session of ours, and the bare connection at its other end.
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

// The other end is the library as it comes, without this package.
func TestInterop(t *testing.T) {
	plain := yamux.DefaultConfig()
	plain.LogOutput = io.Discard
	for role, connect := range map[string]func(*testing.T) (*session, *yamux.Session){
		"dials": func(t *testing.T) (*session, *yamux.Session) {
			ours, raw := rawServer(t)
			theirs, err := yamux.Server(raw, plain)
			if err != nil {
				t.Fatal(err)
			}
			return ours, theirs
		},
		"accepts": func(t *testing.T) (*session, *yamux.Session) {
			ours, raw := rawClient(t)
			theirs, err := yamux.Client(raw, plain)
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
	our, their = interopStreams(t, ours, theirs) // the session is none the worse for it
	interopEcho(t, our, their)
}

// They reset when a stream is opened for which they have no room.
func interopTheyReset(t *testing.T, ours *session, theirs *yamux.Session) {
	if err := theirs.GoAway(); err != nil { // or do not want one
		t.Fatal(err)
	}
	for {
		our, err := ours.OpenStream(t.Context())
		if err != nil { // the words have come in
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
	if cause.Origin != transport.Peer || cause.Coded {
		t.Errorf("cause: %+v", cause)
	}
	if _, err := our.Read(make([]byte, 1)); err != cause {
		t.Errorf("Read: %v", err)
	}
}

// After Go Away a session may live long.
func interopTheyGoAway(t *testing.T, ours *session, theirs *yamux.Session) {
	our, their := interopStreams(t, ours, theirs)
	if err := theirs.GoAway(); err != nil {
		t.Fatal(err)
	}
	interopEcho(t, our, their)
	theirs.Close()
	// Their kernel makes a reset of it if they had not read everything.
	if cause := causeOf(t, ours); cause.Origin != transport.Peer || cause.Coded == cause.Reset || cause.Code != 0 {
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

// They have no way to hear that nobody reads, but for a reset.
func interopTheyWriteOn(t *testing.T, ours *session, theirs *yamux.Session) {
	our, their := interopStreams(t, ours, theirs)
	if _, err := their.Write(make([]byte, window)); err != nil { // all that they may
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

// A peer's frames may end a session, and each time for a reason that has a name.
func TestPeerMisbehaves(t *testing.T) {
	for _, test := range []struct {
		name   string
		frames []byte
		want   error
	}{
		{"pings", bytes.Repeat(newHeader(typePing, flagSYN, 0, 1), pingBurst+pingRate), ErrPingFlood},
		{"our numbers", newHeader(typeWindowUpdate, flagSYN, 2, 0), errProtocol},
		{"the same number twice", bytes.Repeat(newHeader(typeWindowUpdate, flagSYN, 1, 0), 2), errProtocol},
		{"another version", append([]byte{1}, newHeader(typePing, flagACK, 0, 0)[1:]...), errProtocol},
		{"another type", newHeader(9, 0, 0, 0), errProtocol},
		{"more than the window", append(append([]byte(nil), newHeader(typeWindowUpdate, flagSYN, 1, 0)...),
			append(newHeader(typeData, 0, 1, window+1), make([]byte, window+1)...)...), errProtocol},
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
	for code, text := range map[uint32]string{
		goAwayProtocol: "protocol error",
		goAwayInternal: "internal error",
		99:             "code 0x63",
	} {
		t.Run(text, func(t *testing.T) {
			ours, raw := rawClient(t)
			raw.Write(newHeader(typeGoAway, 0, 0, code))
			ce := causeOf(t, ours)
			if ce.Origin != transport.Peer || ce.Coded || !bytes.Contains([]byte(ce.Error()), []byte(text)) {
				t.Errorf("cause: %v", ce)
			}
		})
	}
}

// One that pings as it may is answered every time.
func TestPings(t *testing.T) {
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
