package liveness_test

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

// A peer that can't be told that the server is going away gets the answer that is
// under way, and its beats, as if nothing were.
func TestDrainLeavesAnswersWhole(t *testing.T) {
	for _, c := range []codec.Codec{codec.Auto, codec.Line, codec.Raw} {
		t.Run(c.Name(), func(t *testing.T) {
			bothKinds(t, func(t *testing.T, tr transport.Transport) {
				w := serve(t, &Server{
					Config: Config{Policy: Sliding(time.Hour)}, Codec: c, Drain: time.Minute,
					Handler: func(_ context.Context, c *Conn) {
						c.Read(make([]byte, 16))
						for _, part := range []string{"an answer ", "in two parts\n"} {
							if _, err := io.WriteString(c, part); err != nil {
								t.Errorf("writing %q: %v", part, err)
							}
							time.Sleep(10 * sec)
						}
					},
				}, tr)
				sess, st := w.dial()
				io.WriteString(st, "a question\n")
				time.Sleep(sec)
				w.stop()
				// One of several streams ends with the reason's code.
				got, err := io.ReadAll(st)
				var end *transport.CloseError
				if string(got) != "an answer in two parts\n" || err != nil && (!errors.As(err, &end) || end.Code != Draining.Code()) {
					t.Errorf("got %q, %v", got, err)
				}
				sess.Close(0, "")
				w.end()
			})
		})
	}
}

// Whoever writes when the peer is told that this end is going away learns why he
// can't go on.
func TestDrainTellsTheWriter(t *testing.T) {
	for name, n := range networks(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wrote := make(chan error, 1)
			w := serve(t, &Server{
				Config: Config{Policy: Sliding(10 * sec)}, Codec: codec.Frame, Drain: sec,
				Handler: func(_ context.Context, c *Conn) {
					c.Read(make([]byte, 1))
					_, err := c.Write(make([]byte, 100<<20)) // which nobody reads
					wrote <- err
				},
			}, n)
			c := w.client(Client{NoBeat: true})
			c.Write([]byte("x"))
			time.Sleep(100 * ms)
			w.stop()
			var e *Error
			if err := <-wrote; !errors.As(err, &e) || e.Reason != Draining || e.Initiator != Local {
				t.Errorf("it fails with %v", err)
			}
			c.Close()
			w.end()
		})
	}
}

// A peer that takes nothing, on very many streams, costs one farewell's time at
// its end, and not one for each.
func TestRule11ManyCloggedStreamsEndAtOnce(t *testing.T) {
	t.Parallel()
	const streams = 400
	for _, way := range []string{"silent", "draining"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			w := serve(t, &Server{
				Config: Config{Policy: Sliding(3 * sec)}, Codec: codec.Frame, Drain: sec,
				Handler: func(_ context.Context, c *Conn) {
					c.Read(make([]byte, 1))
					c.Write(make([]byte, 10<<20)) // which nobody reads
				},
			}, networks(t)["yamux"])
			sess, st := w.dial()
			for i := range streams {
				if i > 0 {
					st, _ = sess.OpenStream(t.Context())
				}
				io.WriteString(st, "\xfeLN\x01"+hello+"\x02\x01x")
			}
			for w.srv.Counts(KindStream).Accepted < streams && len(w.closed(KindSession)) == 0 {
				time.Sleep(ms)
			}
			drained := time.Now()
			if way == "draining" {
				w.stop()
			}
			w.awaitClosed(KindSession)
			late := w.one(KindSession).Late
			if way == "draining" {
				late = time.Since(drained) - sec
			}
			// A farewell's time for each would be four seconds.
			if late > 2*sec {
				t.Errorf("the session ended %v late", late)
			}
			sess.Close(0, "")
			w.end()
		})
	}
}

// A session has so many streams at a time, and the others have to wait.
func TestMaxStreams(t *testing.T) {
	const most = 4
	inBubble(t, func(t *testing.T) {
		w := serve(t, &Server{Config: Config{Policy: Sliding(10 * sec)}, MaxStreams: most}, memory())
		testMaxStreams(t, w, most)
	})
	for _, name := range []string{"yamux", "quic"} {
		t.Run(name, func(t *testing.T) {
			w := serve(t, &Server{Config: Config{Policy: Sliding(10 * sec)}, MaxStreams: most, Data: echoData}, networks(t)[name])
			testMaxStreams(t, w, most)
		})
	}
}

func testMaxStreams(t *testing.T, w *world, most int) {
	defer w.end()
	sess, st := w.dial()
	defer sess.Close(0, "")
	var open []transport.Stream
	for range most {
		say(t, st, "within")
		open = append(open, st)
		var err error
		if st, err = sess.OpenStream(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	beyond := st
	io.WriteString(beyond, "beyond")
	beyond.SetReadDeadline(time.Now().Add(100 * ms))
	got := make([]byte, 6)
	if n, err := beyond.Read(got); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one too many is served: %q, %v", got[:n], err)
	}
	if n := w.srv.Counts(KindStream).Live; n != uint64(most) {
		t.Errorf("%d streams", n)
	}
	beyond.SetReadDeadline(time.Time{})
	open[0].Close()
	if _, err := io.ReadFull(beyond, got); err != nil || string(got) != "beyond" {
		t.Errorf("got %q, %v, when there is room", got, err)
	}
	// The session's end is seen though nobody accepts.
	if st, err := sess.OpenStream(t.Context()); err == nil {
		io.WriteString(st, "x")
	}
	sess.Close(0, "")
	w.awaitClosed(KindSession)
}

// A Write of which nothing went out has not been: not for the codec either.
func TestAWriteThatSentNothingLeavesNoTrace(t *testing.T) {
	for _, test := range []struct {
		name       string
		codec      codec.Codec
		first      string // is written
		nothing    string // of this nothing goes out
		says       string // the peer
		then, want string // is written then; and what the peer gets of it all
	}{
		{"within a line", codec.Line, "half a ", "line\n", "PING\n", "line\n", "half a line\nPONG\n"},
		{"between lines", codec.Line, "a line\n", "half a ", "PING\n", "", "a line\nPONG\n"},
		{"before the Hello", codec.Frame, "", "data", "", "data", "\x01\x08\x80\xdd\xdb\x01\x80\x9fI\x00" + "\x02\x04data"},
	} {
		t.Run(test.name, func(t *testing.T) {
			bothKinds(t, func(t *testing.T, tr transport.Transport) {
				w := serve(t, &Server{
					Config: Config{Policy: Sliding(time.Hour), Opening: time.Hour}, Codec: test.codec,
					Handler: func(_ context.Context, c *Conn) {
						var reading sync.WaitGroup
						reading.Go(func() { io.Copy(io.Discard, c) })
						defer reading.Wait()
						io.WriteString(c, test.first)
						c.SetWriteDeadline(time.Now().Add(-1))
						if n, err := io.WriteString(c, test.nothing); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
							t.Errorf("wrote %d bytes, %v", n, err)
						}
						c.SetWriteDeadline(time.Time{})
						time.Sleep(2 * sec)
						io.WriteString(c, test.then)
						time.Sleep(sec)
						c.Close()
					},
				}, tr)
				sess, st := w.dial()
				var writing sync.WaitGroup
				writing.Go(func() {
					time.Sleep(sec)
					io.WriteString(st, test.says)
				})
				got := make([]byte, len(test.want))
				if n, err := io.ReadFull(st, got); err != nil || string(got) != test.want {
					t.Errorf("got %q, %v", got[:n], err)
				}
				writing.Wait()
				sess.Close(0, "")
				w.end()
			})
		})
	}
}
