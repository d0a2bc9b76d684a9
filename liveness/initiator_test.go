package liveness_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
)

// Both ends name the same side, on every transport: the side whose data ended first for a
// normal end, and the side that gave the reason for others.
func TestRule5BothEndsNameTheSameInitiator(t *testing.T) {
	t.Parallel()
	ignored := func(c *Conn) {}
	rest := func(c *Conn) { io.Copy(io.Discard, c) }
	ends := map[string]struct {
		handler func(context.Context, *Conn)
		client  func(c *Conn)
		of      Initiator // as the server sees it
	}{
		"client ends its half": {echo, func(c *Conn) { c.CloseWrite(); rest(c) }, Peer},
		"client ends its half, server writes on": {
			func(_ context.Context, c *Conn) { rest(c); c.Write([]byte("bye\n")); c.CloseWrite() },
			func(c *Conn) { c.CloseWrite(); rest(c) }, Peer,
		},
		"client closes":         {echo, ignored, Peer},
		"client gives a reason": {echo, func(c *Conn) { c.CloseWith(Superseded, "") }, Peer},
		"server returns":        {func(_ context.Context, c *Conn) { c.Read(make([]byte, 64)) }, rest, Local},
		"server ends its half": {
			func(_ context.Context, c *Conn) { c.Read(make([]byte, 64)); c.CloseWrite(); rest(c) },
			func(c *Conn) { rest(c); c.CloseWrite() }, Local,
		},
		"server ends its half, client closes": {
			func(_ context.Context, c *Conn) { c.Read(make([]byte, 64)); c.CloseWrite(); rest(c) }, rest, Local,
		},
		"server gives a reason": {func(_ context.Context, c *Conn) { c.Read(make([]byte, 64)); c.CloseWith(Kicked, "") }, rest, Local},
	}
	everyNetwork(t, func(t *testing.T, n network) {
		for _, code := range []codec.Codec{codec.Raw, codec.Line, codec.Frame} {
			for name, tt := range ends {
				t.Run(code.Name()+"/"+name, func(t *testing.T) {
					t.Parallel()
					w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute)}, Codec: code, Handler: tt.handler}, n)
					c := w.client(Client{Codec: code})
					c.Write([]byte("hello\n"))
					tt.client(c)
					c.Close()
					w.awaitClosed(KindSession)
					w.end()
					for _, kind := range []Kind{KindSession, KindStream} {
						if kind == KindSession && name == "server gives a reason" && len(w.closed(KindStream)) > 0 {
							continue // the session goes on, and it is the client that closes it
						}
						for _, e := range w.closed(kind) {
							if e.End.Initiator != tt.of {
								t.Errorf("the server's end of the %v: %v", kind, e.End)
							}
						}
					}
					end := c.End()
					if end.Initiator == tt.of {
						t.Errorf("the client ended: %v", end)
					}
					if _, err := c.Write([]byte("more\n")); end.Reason == Done && !errors.Is(err, net.ErrClosed) {
						t.Errorf("Write after Close: %v", err)
					}
				})
			}
		}
	})
}

// A peer that has ended its data and closed its direction still gets the Close frame.
func TestCloseAfterAPeersFIN(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		answer := make(chan struct{})
		w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute)}, Codec: codec.Frame, Handler: func(_ context.Context, c *Conn) {
			io.Copy(io.Discard, c)
			<-answer
		}}, memory())
		defer w.end()
		sess, st := w.dial()
		defer sess.Close(0, "")
		st.Write([]byte("\xfeLN\x01" + "\x01\x03\x00\x00\x00" + "\x02\x05hello" + "\x02\x00")) // Hello, data and its end
		st.CloseWrite()
		synctest.Wait() // until the server knows
		close(answer)
		got, err := io.ReadAll(st)
		if err != nil || !bytes.HasSuffix(got, []byte("\x05\x00\x00")) {
			t.Errorf("no Close: %x, %v", got, err)
		}
	})
}
