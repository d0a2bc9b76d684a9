package liveness_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
)

// A peer that does not read, on very many streams, ends with its session at once.
func TestRule14ManyBlockedStreamsEndAtOnce(t *testing.T) {
	const (
		streams = 100
		drain   = 50 * ms
	)
	for _, way := range []string{"silent", "draining"} {
		t.Run(way, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := serve(t, blocking(drain), memory())
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

// No time is spent on a peer that does not read if its connection is reset anyway.
func TestRule14ABlockedPeerIsNotWaitedFor(t *testing.T) {
	const peers = 320 // ten for each worker
	inBubble(t, func(t *testing.T) {
		w := serve(t, blocking(sec), newPipes())
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

// blocking is a server that, on an x, writes more than a peer that does not read can
// take.
func blocking(drain time.Duration) *Server {
	return &Server{
		Config: Config{Policy: Sliding(10 * sec)}, Codec: codec.Frame, Drain: drain,
		Handler: func(_ context.Context, c *Conn) {
			one := make([]byte, 1)
			if c.Read(one); one[0] == 'x' {
				fillBuffers(c)
			}
			io.Copy(io.Discard, c)
		},
	}
}

// fillBuffers writes until the peer's buffers are full.
func fillBuffers(c *Conn) {
	c.SetWriteDeadline(time.Now().Add(ms))
	c.Write(make([]byte, 10<<20))
	c.SetWriteDeadline(time.Time{})
}
