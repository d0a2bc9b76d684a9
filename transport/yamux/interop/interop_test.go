// Package interop tests package yamux against libp2p's implementation of the protocol,
// which has codes as well. It is a module of its own, so that livenet does not depend on it.
package interop

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	goyamux "github.com/libp2p/go-yamux/v5"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/tcp"
	"github.com/livenet/livenet/transport/yamux"
)

// eachRole runs a test with each end as the client.
func eachRole(t *testing.T, test func(t *testing.T, ours transport.Session, theirs *goyamux.Session)) {
	config := goyamux.DefaultConfig()
	config.LogOutput = io.Discard
	config.EnableKeepAlive = false
	t.Run("dials", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ours, err := yamux.Transport{Inner: tcp.Transport{}}.Dial(t.Context(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer ours.Close(0, "")
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := goyamux.Server(conn, config, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer theirs.Close()
		test(t, ours, theirs)
	})
	t.Run("accepts", func(t *testing.T) {
		l, err := yamux.Transport{Inner: tcp.Transport{}}.Listen(t.Context(), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := goyamux.Client(conn, config, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer theirs.Close()
		ours, err := l.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer ours.Close(0, "")
		test(t, ours, theirs)
	})
}

func weOpen(t *testing.T, ours transport.Session, theirs *goyamux.Session) (transport.Stream, *goyamux.Stream) {
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

func theyOpen(t *testing.T, ours transport.Session, theirs *goyamux.Session) (transport.Stream, *goyamux.Stream) {
	t.Helper()
	their, err := theirs.OpenStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	our, err := ours.AcceptStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return our, their
}

// settle returns when libp2p's end has nothing left to write: after a failed write it would
// not read this end's code.
func settle(t *testing.T, our transport.Stream, their *goyamux.Stream, theirs *goyamux.Session) {
	t.Helper()
	if _, err := theirs.Ping(); err != nil {
		t.Fatal(err)
	}
	their.Write([]byte("x"))
	if _, err := our.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

func TestEcho(t *testing.T) {
	eachRole(t, func(t *testing.T, ours transport.Session, theirs *goyamux.Session) {
		body := bytes.Repeat([]byte("0123456789"), 200_000)
		var wg sync.WaitGroup
		for range 20 {
			our, their := weOpen(t, ours, theirs)
			wg.Go(func() {
				io.Copy(their, their)
				their.Close()
			})
			wg.Go(func() {
				our.Write(body)
				our.CloseWrite()
			})
			wg.Go(func() {
				if got, err := io.ReadAll(our); !bytes.Equal(got, body) || err != nil {
					t.Errorf("from them %d bytes came back, %v", len(got), err)
				}
			})
			our2, their2 := theyOpen(t, ours, theirs)
			wg.Go(func() {
				io.Copy(our2, our2)
				our2.Close()
			})
			wg.Go(func() {
				their2.Write(body)
				their2.CloseWrite()
			})
			wg.Go(func() {
				if got, err := io.ReadAll(their2); !bytes.Equal(got, body) || err != nil {
					t.Errorf("from us %d bytes came back, %v", len(got), err)
				}
			})
		}
		wg.Wait()
	})
}

// Each end sees the code of the other's reset.
func TestResetCodes(t *testing.T) {
	eachRole(t, func(t *testing.T, ours transport.Session, theirs *goyamux.Session) {
		for _, open := range []func(*testing.T, transport.Session, *goyamux.Session) (transport.Stream, *goyamux.Stream){weOpen, theyOpen} {
			for _, code := range []uint32{0, 1, 9, 1 << 20, 1<<32 - 1} {
				our, their := open(t, ours, theirs)
				our.Reset(uint64(code))
				_, err := their.Read(make([]byte, 1))
				if se, ok := errors.AsType[*goyamux.StreamError](err); !ok || !se.Remote || se.ErrorCode != code {
					t.Errorf("we reset with %d, they see %v", code, err)
				}

				our, their = open(t, ours, theirs)
				their.ResetWithError(code)
				_, err = our.Read(make([]byte, 1))
				want := transport.CloseError{Origin: transport.Peer, Reset: true, HasCode: code > 0, Code: uint64(code)}
				if ce, ok := errors.AsType[*transport.CloseError](err); !ok || *ce != want {
					t.Errorf("they reset with %d, we see %+v", code, err)
				}
			}
		}
	})
}

// Each end sees the code with which the other closes the session.
func TestSessionCodes(t *testing.T) {
	for _, code := range []uint32{1, 2, 11, 1 << 20, 1<<32 - 1} {
		eachRole(t, func(t *testing.T, ours transport.Session, theirs *goyamux.Session) {
			our, their := weOpen(t, ours, theirs)
			settle(t, our, their, theirs)
			ours.Close(uint64(code), "")
			_, err := their.Read(make([]byte, 1))
			if ga, ok := errors.AsType[*goyamux.GoAwayError](err); !ok || !ga.Remote || ga.ErrorCode != code {
				t.Errorf("we close with %d, they see %v", code, err)
			}
		})
		eachRole(t, func(t *testing.T, ours transport.Session, theirs *goyamux.Session) {
			our, _ := weOpen(t, ours, theirs)
			theirs.CloseWithError(code)
			_, err := our.Read(make([]byte, 1))
			want := transport.CloseError{Origin: transport.Peer, HasCode: true, Code: uint64(code)}
			if ce, ok := errors.AsType[*transport.CloseError](err); !ok || *ce != want || context.Cause(ours.Context()) != ce {
				t.Errorf("they close with %d, we see %+v", code, err)
			}
		})
	}
}

// A close with code 0 is a normal end.
func TestSessionEnds(t *testing.T) {
	eachRole(t, func(t *testing.T, ours transport.Session, theirs *goyamux.Session) {
		our, their := weOpen(t, ours, theirs)
		settle(t, our, their, theirs)
		ours.Close(0, "")
		if _, err := theirs.AcceptStream(); !errors.Is(err, goyamux.ErrRemoteGoAway) {
			t.Errorf("we close, they see %v", err)
		}
	})
	eachRole(t, func(t *testing.T, ours transport.Session, theirs *goyamux.Session) {
		weOpen(t, ours, theirs)
		theirs.Close()
		<-ours.Context().Done()
		if ce := context.Cause(ours.Context()).(*transport.CloseError); ce.Origin != transport.Peer || ce.HasCode {
			t.Errorf("they close, we see %+v", ce)
		}
	})
}
