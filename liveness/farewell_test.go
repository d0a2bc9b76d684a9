package liveness_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/transporttest"
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
				w := serve(t, clogging(drain), memory())
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
		w := serve(t, clogging(sec), memory())
		var told sync.WaitGroup
		sess := clogSome(w, streams, every, func(i int, st transport.Stream) {
			told.Go(func() {
				got, err := io.ReadAll(st)
				if err != nil || !strings.HasSuffix(string(got), "\x05\x0b\x00") {
					t.Errorf("stream %d is told %q, %v", i, got, err)
				}
				st.Close()
			})
		})
		time.Sleep(sec)
		w.stop()
		told.Wait()
		sess.Close(0, "")
		w.end()
	})
}

// Nor do the two together make it long: streams that are not read, between others
// that are.
func TestRule11CloggedStreamsBetweenOthers(t *testing.T) {
	const streams, every = 240, 3
	inBubble(t, func(t *testing.T) {
		w := serve(t, clogging(sec), &transporttest.Memory{Streams: streams})
		var told sync.WaitGroup
		sess := clogSome(w, streams, every, func(i int, st transport.Stream) {
			told.Go(func() {
				got, err := io.ReadAll(st)
				end, _ := errors.AsType[*transport.CloseError](err) // the session's, which may overtake the last ones'
				if !strings.HasSuffix(string(got), "\x05\x02\x00") && (end == nil || end.Code != Silent.Code()) {
					t.Errorf("stream %d is told %q, %v", i, got, err)
				}
			})
		})
		began := time.Now()
		w.awaitClosed(KindSession)
		if late := time.Since(began) - 10*sec; late < 0 || late > 400*ms {
			t.Errorf("the session ended %v late", late)
		}
		told.Wait()
		sess.Close(0, "")
		w.end()
	})
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

// clogSome opens streams to a server that is clogging: one in every is not read, and
// read is called with the others.
func clogSome(w *world, streams, every int, read func(i int, st transport.Stream)) transport.Session {
	w.t.Helper()
	sess, st := w.dial()
	for i := range streams {
		if i > 0 {
			var err error
			if st, err = sess.OpenStream(w.t.Context()); err != nil {
				w.t.Fatal(err)
			}
		}
		if i%every == 0 {
			io.WriteString(st, "\xfeLN\x01"+hello+"\x02\x01x")
			continue
		}
		io.WriteString(st, "\xfeLN\x01"+hello+"\x02\x01y")
		read(i, st)
	}
	return sess
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
