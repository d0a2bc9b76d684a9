package quic_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"testing"

	quicgo "github.com/quic-go/quic-go"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/quic"
	"github.com/livenet/livenet/transport/transporttest"
)

type tlsVerificationError = tls.CertificateVerificationError

// Either end may be plain quic-go, without this package.
func TestInterop(t *testing.T) {
	serverTLS, clientTLS := transporttest.Certificates(t)
	plainServer, plainClient := serverTLS.Clone(), clientTLS.Clone()
	plainServer.NextProtos, plainClient.NextProtos = []string{quic.ALPN}, []string{quic.ALPN}

	dials := func(t *testing.T) (transport.Session, *quicgo.Conn) {
		l, err := quicgo.ListenAddr("127.0.0.1:0", plainServer, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		ours, err := quic.Transport{TLS: clientTLS}.Dial(t.Context(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := l.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return ours, theirs
	}
	accepts := func(t *testing.T) (transport.Session, *quicgo.Conn) {
		l, err := quic.Transport{TLS: serverTLS}.Listen(t.Context(), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		theirs, err := quicgo.DialAddr(t.Context(), l.Addr().String(), plainClient, nil)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := l.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return ours, theirs
	}
	for role, connect := range map[string]func(*testing.T) (transport.Session, *quicgo.Conn){"dials": dials, "accepts": accepts} {
		for name, test := range map[string]func(*testing.T, transport.Session, *quicgo.Conn){
			"echo":        interopEcho,
			"they reset":  interopTheyReset,
			"we reset":    interopWeReset,
			"they close":  interopTheyClose,
			"we close":    interopWeClose,
			"they refuse": interopUnidirectional,
		} {
			t.Run(role+"/"+name, func(t *testing.T) {
				ours, theirs := connect(t)
				t.Cleanup(func() {
					ours.Close(0, "")
					theirs.CloseWithError(0, "")
				})
				test(t, ours, theirs)
			})
		}
	}
}

func interopEcho(t *testing.T, ours transport.Session, theirs *quicgo.Conn) {
	go func() {
		if stream, err := theirs.AcceptStream(t.Context()); err == nil {
			io.Copy(stream, stream)
			stream.Close()
		}
	}()
	stream, err := ours.OpenStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(stream, "hello"); err != nil {
		t.Fatal(err)
	}
	stream.CloseWrite()
	if got, err := io.ReadAll(stream); string(got) != "hello" || err != nil {
		t.Errorf("echo is %q, %v", got, err)
	}
	stream.Close()
}

// opened returns both ends of a stream that quic-go's end opened.
func opened(t *testing.T, ours transport.Session, theirs *quicgo.Conn) (transport.Stream, *quicgo.Stream) {
	t.Helper()
	their, err := theirs.OpenStreamSync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(their, "x"); err != nil {
		t.Fatal(err)
	}
	our, err := ours.AcceptStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return our, their
}

func interopTheyReset(t *testing.T, ours transport.Session, theirs *quicgo.Conn) {
	our, their := opened(t, ours, theirs)
	their.CancelWrite(6)
	their.CancelRead(9)
	_, err := io.Copy(io.Discard, our)
	wantReset(t, "Read", err, 6)
	for err = nil; err == nil; {
		_, err = our.Write(make([]byte, 1<<10))
	}
	wantReset(t, "Write", err, 9)
	our.Close()
}

func wantReset(t *testing.T, what string, err error, code uint64) {
	t.Helper()
	ce, ok := errors.AsType[*transport.CloseError](err)
	if !ok || *ce != (transport.CloseError{Origin: transport.Peer, Reset: true, HasCode: true, Code: code}) {
		t.Errorf("%s: %v, want a reset by the peer with code %d", what, err, code)
	}
}

func interopWeReset(t *testing.T, ours transport.Session, theirs *quicgo.Conn) {
	our, their := opened(t, ours, theirs)
	our.Reset(6)
	_, err := io.Copy(io.Discard, their)
	if e, ok := errors.AsType[*quicgo.StreamError](err); !ok || !e.Remote || e.ErrorCode != 6 {
		t.Errorf("their Read: %v", err)
	}
	for err = nil; err == nil; {
		_, err = their.Write(make([]byte, 1<<10))
	}
	if e, ok := errors.AsType[*quicgo.StreamError](err); !ok || !e.Remote || e.ErrorCode != 6 {
		t.Errorf("their Write: %v", err)
	}
}

func interopTheyClose(t *testing.T, ours transport.Session, theirs *quicgo.Conn) {
	our, _ := opened(t, ours, theirs)
	theirs.CloseWithError(12, "superseded")
	want := transport.CloseError{Origin: transport.Peer, HasCode: true, Code: 12, Text: "superseded"}
	_, err := io.Copy(io.Discard, our)
	for what, err := range map[string]error{"Read": err, "cause": cause(ours)} {
		if ce, ok := errors.AsType[*transport.CloseError](err); !ok || *ce != want {
			t.Errorf("%s: %+v", what, err)
		}
	}
}

func interopWeClose(t *testing.T, ours transport.Session, theirs *quicgo.Conn) {
	_, their := opened(t, ours, theirs)
	ours.Close(2, "silent")
	_, err := io.Copy(io.Discard, their)
	for what, err := range map[string]error{"Read": err, "cause": theirCause(theirs)} {
		e, ok := errors.AsType[*quicgo.ApplicationError](err)
		if !ok || !e.Remote || e.ErrorCode != 2 || e.ErrorMessage != "silent" {
			t.Errorf("their %s: %v", what, err)
		}
	}
}

func theirCause(c *quicgo.Conn) error {
	<-c.Context().Done()
	return context.Cause(c.Context())
}

// The peer can't open unidirectional streams.
func interopUnidirectional(t *testing.T, _ transport.Session, theirs *quicgo.Conn) {
	_, err := theirs.OpenUniStream()
	if _, ok := errors.AsType[*quicgo.StreamLimitReachedError](err); !ok {
		t.Errorf("OpenUniStream: %v, want the limit reached", err)
	}
}
