package liveness_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

// A truncated answer arrives as far as it was written, and does not look complete, even
// if neither codec nor transport can name the reason.
func TestRule6ATruncatedAnswerIsReset(t *testing.T) {
	t.Parallel()
	const size = 2 << 20 // more than a peer's window takes at once
	ends := map[Reason]func(*Conn){
		FixedDeadline: func(c *Conn) { c.Session().SetPolicy(Fixed(500 * ms)); <-c.Done() },
		Aged:          func(c *Conn) { c.Session().SetPolicy(MaxAge(500*ms, 0)); <-c.Done() },
		Kicked:        func(c *Conn) { c.CloseWith(Kicked, "") },
		Internal:      func(c *Conn) { panic("on purpose") },
		TooLarge:      func(c *Conn) { io.Copy(io.Discard, c) },
	}
	for _, name := range []string{"tcp", "tls", "parked", "parked-tls"} {
		n := networks(t)[name]
		for _, code := range []codec.Codec{codec.Raw, codec.Line, codec.Auto} {
			for reason, end := range ends {
				if reason == TooLarge && code != codec.Line {
					continue
				}
				t.Run(fmt.Sprint(name, "/", code.Name(), "/", reason), func(t *testing.T) {
					t.Parallel()
					w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute)}, Codec: code, Handler: func(_ context.Context, c *Conn) {
						c.Read(make([]byte, 2))
						c.Write(make([]byte, size))
						end(c)
					}}, n)
					defer w.end()
					sess, st := w.dial()
					defer sess.Close(0, "")
					io.WriteString(st, "x\n")
					if reason == TooLarge {
						go st.Write(make([]byte, codec.MaxLine+1))
					}
					if got, err := io.Copy(io.Discard, st); got != size || !transport.IsReset(err) {
						t.Errorf("%d of %d bytes arrived, and then: %v", got, size, err)
					}
				})
			}
		}
	}
}

// The same holds under NewConn.
func TestRule6ATruncatedAnswerIsResetUnderNewConn(t *testing.T) {
	t.Parallel()
	const size = 2 << 20
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	written := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			written <- err
			return
		}
		c := NewConn(conn, &Config{Policy: Sliding(time.Minute), Opening: time.Minute})
		_, err = c.Write(make([]byte, size))
		written <- err
		c.Session().SetPolicy(Fixed(500 * ms))
		<-c.Done()
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got, err := io.Copy(io.Discard, conn)
	if got != size || !transport.IsReset(err) {
		t.Errorf("%d of %d bytes arrived, and then: %v", got, size, err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

func TestRule12ACompleteAnswerEndsWithEOF(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"tcp", "tls", "parked", "parked-tls"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := serve(t, &Server{Config: Config{Policy: Sliding(10 * sec)}, Handler: func(_ context.Context, c *Conn) {
				c.Read(make([]byte, 2))
				c.Write(make([]byte, 1<<20))
			}}, networks(t)[name])
			defer w.end()
			sess, st := w.dial()
			defer sess.Close(0, "")
			io.WriteString(st, "x")
			if got, err := io.Copy(io.Discard, st); got != 1<<20 || err != nil {
				t.Errorf("%d bytes arrived, and then: %v", got, err)
			}
		})
	}
}
