package liveness_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
)

// A peer that takes nothing, on very many streams, ends with its session at once.
func TestRule11ManyCloggedStreamsEndAtOnce(t *testing.T) {
	const (
		streams = 100
		drain   = 50 * ms
	)
	for _, way := range []string{"silent", "draining"} {
		t.Run(way, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := serve(t, clogging(drain), memory())
				sess, st := w.dial()
				for i := range streams {
					if i > 0 {
						st, _ = sess.OpenStream(t.Context())
					}
					io.WriteString(st, "\xfeLN\x01"+hello+"\x02\x01x")
				}
				time.Sleep(sec)
				began, due := time.Now(), drain
				if way == "draining" {
					w.stop()
				} else {
					due = 9 * sec
				}
				w.awaitClosed(KindSession)
				if late := time.Since(began) - due; late < 0 || late > 3*DefaultTick {
					t.Errorf("the session ended %v late", late)
				}
				if n := len(w.closed(KindStream)); n != streams {
					t.Errorf("%d streams ended", n)
				}
				sess.Close(0, "")
				w.end()
			})
		})
	}
}

// A peer that takes nothing costs nobody's time if its connection is reset anyway.
func TestRule11WhoTakesNothingIsNotWaitedFor(t *testing.T) {
	const peers = 320 // ten for each who ends them
	inBubble(t, func(t *testing.T) {
		w := serve(t, clogging(sec), newPipes())
		for range peers {
			sess, st := w.dial()
			defer sess.Close(0, "")
			io.WriteString(st, "\xfeLN\x01"+hello+"\x02\x01x")
		}
		time.Sleep(10*sec + 3*DefaultTick)
		if n := len(w.closed(KindSession)); n != peers {
			t.Errorf("%d of %d have ended", n, peers)
		}
		w.end()
	})
}

// clogging is a server that writes to whoever says x more than the peer takes, if
// it does not read.
func clogging(drain time.Duration) *Server {
	return &Server{
		Config: Config{Policy: Sliding(10 * sec)}, Codec: codec.Frame, Drain: drain,
		Handler: func(_ context.Context, c *Conn) {
			one := make([]byte, 1)
			if c.Read(one); one[0] == 'x' {
				clog(c)
			}
			io.Copy(io.Discard, c)
		},
	}
}

// clog writes until the peer's buffers are full, and leaves them so.
func clog(c *Conn) {
	c.SetWriteDeadline(time.Now().Add(ms))
	c.Write(make([]byte, 10<<20))
	c.SetWriteDeadline(time.Time{})
}
