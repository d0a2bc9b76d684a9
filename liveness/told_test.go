package liveness_test

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
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
					_, err := c.Write(make([]byte, 32<<20)) // which nobody reads
					wrote <- err
				},
			}, n)
			c := w.client(Client{NoBeat: true})
			c.Write([]byte("x"))
			time.Sleep(100 * ms)
			w.stop()
			select {
			case err := <-wrote:
				var e *Error
				if !errors.As(err, &e) || e.Reason != Draining || e.Initiator != Local {
					t.Errorf("it fails with %v", err)
				}
			case <-time.After(8 * sec):
				all := make([]byte, 1<<20)
				t.Errorf("it goes on:\n%s", all[:runtime.Stack(all, true)])
			}
			c.Close()
			w.end()
		})
	}
}

// A peer that takes nothing, on very many streams, costs a few farewells' time at
// its end, and not one for each.
func TestRule11ManyCloggedStreamsEndAtOnce(t *testing.T) {
	const (
		streams = 100
		drain   = 100 * ms
		each    = 10 * ms // a farewell's time
	)
	for _, way := range []string{"silent", "draining"} {
		t.Run(way, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := serve(t, &Server{
					Config: Config{Policy: Sliding(10 * sec)}, Codec: codec.Frame, Drain: drain,
					Handler: func(_ context.Context, c *Conn) {
						c.Read(make([]byte, 1))
						c.SetWriteDeadline(time.Now().Add(ms))
						c.Write(make([]byte, 10<<20)) // which nobody reads
						c.SetWriteDeadline(time.Time{})
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

// One stream that is not read does not keep the others from being told.
func TestOneCloggedStreamIsNotAll(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"yamux", "quic"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := serve(t, &Server{
				Config: Config{Policy: Sliding(10 * sec)}, Codec: codec.Frame, Drain: 10 * sec,
				Handler: func(_ context.Context, c *Conn) {
					one := make([]byte, 1)
					if c.Read(one); one[0] == 'x' {
						c.Write(make([]byte, 10<<20)) // which nobody reads
					}
					io.Copy(io.Discard, c)
				},
			}, networks(t)[name])
			sess, st := w.dial()
			const streams = 20
			var told sync.WaitGroup
			var untold atomic.Int32
			for i := range streams {
				if i > 0 {
					st, _ = sess.OpenStream(t.Context())
				}
				st, what := st, "y"
				if i == 0 {
					what = "x"
				} else {
					told.Go(func() {
						got, err := io.ReadAll(st)
						if err != nil || !strings.HasSuffix(string(got), "\x05\x0b\x00") {
							t.Logf("stream %d is told %q, %v", i, got, err)
							untold.Add(1)
						}
						st.Close()
					})
				}
				io.WriteString(st, "\xfeLN\x01"+hello+"\x02\x01"+what)
			}
			for w.srv.Counts(KindStream).Accepted < streams {
				time.Sleep(ms)
			}
			time.Sleep(100 * ms)
			w.stop()
			told.Wait()
			// On a machine that does a lot of other things a farewell's 10 ms may be over
			// before it is begun.
			if n := untold.Load(); n > 2 {
				t.Errorf("%d of %d streams are not told", n, streams-1)
			}
			sess.Close(0, "")
			w.end()
		})
	}
}

// A session that has as many streams as it may is seen to end all the same, and
// handlers that wait for nothing but that are told.
func TestAFullSessionEnds(t *testing.T) {
	for _, name := range []string{"yamux", "quic"} {
		t.Run(name, func(t *testing.T) {
			w := serve(t, &Server{
				Config: Config{Policy: Sliding(10 * sec)}, MaxStreams: 1,
				Handler: func(ctx context.Context, c *Conn) {
					io.WriteString(c, "!")
					<-ctx.Done()
				},
			}, networks(t)[name])
			sess, st := w.dial()
			io.WriteString(st, "?")
			io.ReadFull(st, make([]byte, 1))
			sess.Close(0, "")
			w.awaitClosed(KindSession)
			if e := w.one(KindSession); e.End.Reason != Done || e.End.Initiator != Peer {
				t.Errorf("it ended %v by %v", e.End.Reason, e.End.Initiator)
			}
			w.end()
		})
	}
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
