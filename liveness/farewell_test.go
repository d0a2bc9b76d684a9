package liveness_test

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
)

// A peer that takes nothing, on very many streams, costs a few farewells' time at
// its end, and not one for each.
func TestRule11ManyCloggedStreamsEndAtOnce(t *testing.T) {
	const (
		streams = 100
		drain   = 50 * ms
		each    = 10 * ms // a farewell's time
	)
	for _, way := range []string{"silent", "draining"} {
		t.Run(way, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := serve(t, &Server{
					Config: Config{Policy: Sliding(10 * sec)}, Codec: codec.Frame, Drain: drain,
					Handler: func(_ context.Context, c *Conn) {
						c.Read(make([]byte, 1))
						clog(c) // nobody reads
						io.Copy(io.Discard, c)
					},
				}, memory())
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
				if late := time.Since(began) - due; late < 0 || late > streams/4*each {
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

// The drain may be over in the middle of a farewell: then the end's waits for it, and
// both for nobody else.
func TestRule11TwoFarewellsMeet(t *testing.T) {
	for _, drain := range []time.Duration{ms, 3 * ms, 7 * ms} {
		t.Run(drain.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := serve(t, &Server{
					Config: Config{Policy: Sliding(10 * sec)}, Codec: codec.Frame, Drain: drain,
					Handler: func(_ context.Context, c *Conn) {
						c.Read(make([]byte, 1))
						clog(c) // nobody reads
						io.Copy(io.Discard, c)
					},
				}, memory())
				sess, st := w.dial()
				io.WriteString(st, "\xfeLN\x01"+hello+"\x02\x01x")
				time.Sleep(sec)
				began := time.Now()
				w.stop()
				w.awaitClosed(KindSession)
				if d := time.Since(began); d > 50*ms {
					t.Errorf("the session ended after %v", d)
				}
				sess.Close(0, "")
				w.end()
			})
		})
	}
}

// Streams that are not read do not keep the others from being told.
func TestCloggedStreamsAreNotAll(t *testing.T) {
	const (
		streams = 100
		every   = 8 // of those is clogged: more than are waited for in a row
	)
	inBubble(t, func(t *testing.T) {
		w := serve(t, &Server{
			Config: Config{Policy: Sliding(10 * sec)}, Codec: codec.Frame, Drain: sec,
			Handler: func(_ context.Context, c *Conn) {
				one := make([]byte, 1)
				if c.Read(one); one[0] == 'x' {
					clog(c)
				}
				io.Copy(io.Discard, c)
			},
		}, memory())
		sess, st := w.dial()
		var told sync.WaitGroup
		for i := range streams {
			if i > 0 {
				st, _ = sess.OpenStream(t.Context())
			}
			if i%every == 0 {
				io.WriteString(st, "\xfeLN\x01"+hello+"\x02\x01x")
				continue
			}
			io.WriteString(st, "\xfeLN\x01"+hello+"\x02\x01y")
			st := st
			told.Go(func() {
				got, err := io.ReadAll(st)
				if err != nil || !strings.HasSuffix(string(got), "\x05\x0b\x00") {
					t.Errorf("stream %d is told %q, %v", i, got, err)
				}
				st.Close()
			})
		}
		time.Sleep(sec)
		w.stop()
		told.Wait()
		sess.Close(0, "")
		w.end()
	})
}

// clog writes until the peer's buffers are full, and leaves them so.
func clog(c *Conn) {
	c.SetWriteDeadline(time.Now().Add(ms))
	c.Write(make([]byte, 10<<20))
	c.SetWriteDeadline(time.Time{})
}
