package liveness_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

// A peer without a codec that has GoAway gets the whole answer that is under way, and its
// beats.
func TestRule12DrainDoesNotTruncateAnswers(t *testing.T) {
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
							if part[0] == 'a' {
								time.Sleep(10 * sec)
							}
						}
					},
				}, tr)
				sess, st := w.dial()
				io.WriteString(st, "a question\n")
				time.Sleep(sec)
				w.stop()
				time.Sleep(9500 * ms) // until it has been over for half a second
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

// A deadline that passes during a drain is the reason, at both ends.
func TestRule5ADeadlineDuringADrain(t *testing.T) {
	for _, policy := range []Policy{Fixed(3 * sec), Sliding(3 * sec)} {
		t.Run(fmt.Sprint(policy), func(t *testing.T) { testFirstWord(t, policy) })
	}
}

func testFirstWord(t *testing.T, policy Policy) {
	bothKinds(t, func(t *testing.T, tr transport.Transport) {
		w := serve(t, &Server{
			Config: Config{Policy: policy}, Codec: codec.Frame, Drain: 10 * sec,
			Handler: func(_ context.Context, c *Conn) { io.Copy(io.Discard, c) },
		}, tr)
		sess, st := w.dial()
		coder := codec.Frame.Client(codec.Hello{})
		st.Write(coder.AppendPending(nil))
		var told atomic.Pointer[codec.Close]
		var reading sync.WaitGroup
		reading.Go(func() {
			for b := make([]byte, 256); ; {
				n, err := st.Read(b[coder.Headroom():])
				if end, ok := errors.AsType[*transport.CloseError](err); ok && end.HasCode {
					told.Store(&codec.Close{Code: end.Code})
				}
				if err != nil {
					return
				}
				if _, seen, _ := coder.Decode(b, n); seen.Close != nil {
					told.Store(seen.Close)
				}
			}
		})
		time.Sleep(sec)
		w.stop()
		time.Sleep(5 * sec)
		ends := w.closed(KindSession)
		if len(ends) != 1 || told.Load() == nil || told.Load().Code != ends[0].End.Reason.Code() {
			t.Errorf("peer got %+v, ended %v", told.Load(), ends)
		}
		sess.Close(0, "")
		reading.Wait()
		w.end()
	})
}

// An answer that its handler could not finish does not look complete.
func TestRule6DrainResetsUnfinishedAnswers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		broken := errors.New("the backend has failed")
		w := serve(t, &Server{
			Config: Config{Policy: Sliding(time.Hour)}, Drain: time.Minute,
			Data: func(c *Conn, p []byte) error {
				if string(p) == "more" {
					return broken
				}
				_, err := io.WriteString(c, "half an ans")
				return err
			},
		}, memory())
		sess, st := w.dial()
		io.WriteString(st, "question")
		time.Sleep(sec)
		w.stop()
		time.Sleep(sec)
		io.WriteString(st, "more")
		var end *transport.CloseError
		if got, err := io.ReadAll(st); !errors.As(err, &end) || end.Code != Internal.Code() {
			t.Errorf("got %q, %v", got, err)
		}
		w.awaitClosed(KindStream)
		if e := w.one(KindStream).End; e.Reason != Internal || !errors.Is(e, broken) {
			t.Errorf("ended: %v", e)
		}
		sess.Close(0, "")
		w.end()
	})
}

// A stream on which nothing was sent when the drain began may still answer.
func TestRule12DrainDoesNotTruncateALateAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := serve(t, &Server{
			Config: Config{Policy: Sliding(time.Hour)}, Drain: time.Minute,
			Handler: func(_ context.Context, c *Conn) {
				c.Read(make([]byte, 16))
				time.Sleep(5 * sec)
				io.WriteString(c, "an answer")
			},
		}, memory())
		sess, early := w.dial()
		late, err := sess.OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(early, "a question")
		time.Sleep(5*sec + 500*ms) // the early one has just been answered
		w.stop()
		time.Sleep(100 * ms)
		io.WriteString(late, "a question")
		if got, err := io.ReadAll(late); string(got) != "an answer" {
			t.Errorf("got %q, %v", got, err)
		}
		sess.Close(0, "")
		w.end()
	})
}

// A drain does not wait for a stream that has sent nothing.
func TestDrainDoesNotWaitForASilentStream(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := serve(t, &Server{Config: Config{Policy: Sliding(time.Hour)}, Drain: time.Minute}, memory())
		sess, _ := w.dial()
		defer sess.Close(0, "")
		time.Sleep(sec)
		w.stop()
		began := time.Now()
		w.awaitClosed(KindSession)
		if d := time.Since(began); d > sec {
			t.Errorf("the session ended after %v", d)
		}
		w.end()
	})
}

// A Write after the end by a drain returns the reason.
func TestRule6DrainReasonReachesTheWriter(t *testing.T) {
	everyNetwork(t, func(t *testing.T, n network) {
		wrote := make(chan error, 1)
		w := serve(t, &Server{
			Config: Config{Policy: Sliding(10 * sec)}, Codec: codec.Frame, Drain: sec,
			Handler: func(_ context.Context, c *Conn) {
				c.Read(make([]byte, 1))
				_, err := c.Write(make([]byte, 32<<20)) // which is not read to the end
				wrote <- err
			},
		}, n)
		c := w.client(Client{NoBeat: true})
		if _, err := c.Write([]byte("x")); err != nil {
			t.Error("asking:", err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1<<20)); err != nil { // it is under way
			t.Error("the answer:", err)
		}
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

// A reluctant connection does not end its side before it is closed.
type reluctant struct {
	net.Conn
	closed chan struct{}
	once   sync.Once
}

func (c *reluctant) CloseWrite() error { <-c.closed; return net.ErrClosed }
func (c *reluctant) Close() error      { c.once.Do(func() { close(c.closed) }); return c.Conn.Close() }

// Whatever delays the GoAway frames, the sessions end after Drain.
func TestDrainIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newPipes()
		n.pair = func() (a, b net.Conn) {
			a, b = net.Pipe()
			return a, &reluctant{Conn: b, closed: make(chan struct{})}
		}
		w := serve(t, &Server{Config: Config{Policy: Sliding(time.Hour)}, Codec: codec.Frame, Drain: 5 * sec, Handler: echo}, n)
		sess, st := w.dial()
		var reading sync.WaitGroup
		reading.Go(func() { io.Copy(io.Discard, st) })
		io.WriteString(st, "\xfeLN\x01"+hello)
		time.Sleep(sec)
		began := time.Now()
		w.stop()
		w.awaitClosed(KindSession)
		if took := time.Since(began); took != 5*sec {
			t.Errorf("draining takes %v", took)
		}
		reading.Wait()
		sess.Close(0, "")
		w.end()
	})
}
