package liveness_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/transporttest"
)

// The rules of liveness, tested on connections, with one stream and several; those of
// the engine are in engine_test.go.

// bothKinds runs f over sessions of several streams, and of one.
func bothKinds(t *testing.T, f func(t *testing.T, tr transport.Transport)) {
	t.Run("multiplexed", func(t *testing.T) { inBubble(t, func(t *testing.T) { f(t, memory()) }) })
	t.Run("single", func(t *testing.T) { inBubble(t, func(t *testing.T) { f(t, newPipes()) }) })
}

func until(at time.Time) {
	time.Sleep(time.Until(at))
	synctest.Wait()
}

// wantEnd checks that the session is open until just before its deadline, and ends for r
// within two ticks.
func (w *world) wantEnd(deadline time.Time, r Reason) Event {
	w.t.Helper()
	until(deadline.Add(-1))
	if list := w.closed(KindSession); len(list) > 0 {
		w.t.Fatalf("ended early: %v", list[0].End)
	}
	until(deadline.Add(2 * DefaultTick))
	e := w.one(KindSession)
	if e.End.Reason != r || e.End.Initiator != Local {
		w.t.Errorf("ended %v %v, want local %v", e.End.Initiator, e.End.Reason, r)
	}
	if e.Late < 0 || e.Late > 2*DefaultTick+controlSlack {
		w.t.Errorf("the end was complete %v late", e.Late)
	}
	return e
}

// controlSlack is how long a Close frame to a peer that does not read may take.
const controlSlack = 50 * ms

// A peer sends ten messages two seconds apart, and then nothing.
func TestRule3SlidingEndsOnlySilentPeers(t *testing.T) {
	bothKinds(t, func(t *testing.T, tr transport.Transport) {
		w := serve(t, &Server{Config: Config{Policy: Sliding(4 * sec)}}, tr)
		defer w.end()
		sess, st := w.dial()
		defer sess.Close(0, "")
		for i := range 10 {
			say(t, st, fmt.Sprintf("%d Hello I'm MyHeartbeat Client.", i))
			if i < 9 {
				time.Sleep(2 * sec)
			}
		}
		e := w.wantEnd(time.Now().Add(4*sec), Silent)
		if e.BytesIn != 310 || e.BytesOut != 310 {
			t.Errorf("%d bytes in, %d out", e.BytesIn, e.BytesOut)
		}
		if _, err := st.Write([]byte("still there?")); err == nil {
			// The end may take one write to be noticed, but no more.
			if _, err := st.Read(make([]byte, 1)); err == nil {
				t.Error("the client got no reason")
			}
		}
	})
}

func TestRule3FixedEndsActivePeers(t *testing.T) {
	bothKinds(t, func(t *testing.T, tr transport.Transport) {
		w := serve(t, &Server{Config: Config{Policy: Fixed(10 * sec)}}, tr)
		defer w.end()
		sess, st := w.dial()
		defer sess.Close(0, "")
		deadline := time.Now().Add(10 * sec)
		for time.Until(deadline) > sec {
			say(t, st, "Hello")
			time.Sleep(sec)
		}
		w.wantEnd(deadline, FixedDeadline)
	})
}

func TestRule2WritesAreNoEvidence(t *testing.T) {
	bothKinds(t, func(t *testing.T, tr transport.Transport) {
		w := serve(t, &Server{
			Config: Config{Policy: Sliding(sec)},
			Handler: func(_ context.Context, c *Conn) {
				c.Read(make([]byte, 8))
				for { // goes on writing, and the peer goes on reading
					if _, err := c.Write([]byte("x")); err != nil {
						return
					}
					time.Sleep(100 * ms)
				}
			},
		}, tr)
		defer w.end()
		sess, st := w.dial()
		defer sess.Close(0, "")
		st.Write([]byte("hello"))
		deadline := time.Now().Add(sec)
		var wg sync.WaitGroup
		wg.Go(func() { io.Copy(io.Discard, st) })
		w.wantEnd(deadline, Silent)
		wg.Wait()
	})
}

// Bytes without a codec are neither messages nor beats: a peer without frames ends at
// once.
func TestRule2RawReadsAreNoMessages(t *testing.T) {
	for _, counts := range []codec.Evidence{codec.Messages, codec.Beats} {
		t.Run(fmt.Sprint(counts), func(t *testing.T) {
			bothKinds(t, func(t *testing.T, tr transport.Transport) {
				w := serve(t, &Server{
					Config: Config{Policy: Sliding(4 * sec), Evidence: counts}, Streams: Sliding(4 * sec), Codec: codec.Auto,
				}, tr)
				defer w.end()
				sess, st := w.dial()
				defer sess.Close(0, "")
				go io.Copy(io.Discard, st)
				for range 4 {
					st.Write([]byte("x"))
					time.Sleep(2 * sec)
				}
				kind := KindSession
				if sess.Multiplexed() {
					kind = KindStream
				}
				if list := w.closed(kind); len(list) != 1 || list[0].End.Reason != ProtocolError {
					t.Errorf("ended: %v", list)
				}
			})
		})
	}
}

func TestRule2EvidenceIsConfigured(t *testing.T) {
	tests := []struct {
		counts codec.Evidence
		sends  string
		lives  bool
	}{
		{codec.Bytes, "x", true},
		{codec.Bytes, "PING\n", true},
		{codec.Messages, "x", false}, // a trickle that never completes a message
		{codec.Messages, "x\n", true},
		{codec.Messages, "PING\n", true},
		{codec.Beats, "x\n", false},
		{codec.Beats, "PING\n", true},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d/%q", tt.counts, tt.sends), func(t *testing.T) {
			bothKinds(t, func(t *testing.T, tr transport.Transport) {
				w := serve(t, &Server{
					Config:  Config{Policy: Sliding(sec), Evidence: tt.counts},
					Codec:   codec.Line,
					Handler: func(_ context.Context, c *Conn) { io.Copy(io.Discard, c) },
				}, tr)
				defer w.end()
				sess, st := w.dial()
				defer sess.Close(0, "")
				var wg sync.WaitGroup
				wg.Go(func() { io.Copy(io.Discard, st) })
				start := time.Now()
				for time.Since(start) < 5*sec {
					if _, err := io.WriteString(st, tt.sends); err != nil {
						break
					}
					time.Sleep(300 * ms)
				}
				synctest.Wait()
				if lives := len(w.closed(KindSession)) == 0; lives != tt.lives {
					t.Errorf("lives: %v, want %v", lives, tt.lives)
				} else if !lives && w.one(KindSession).End.Reason != Silent {
					t.Errorf("ended for %v", w.one(KindSession).End)
				}
				sess.Close(0, "")
				wg.Wait()
			})
		})
	}
}

func TestRule4NoUnsetDeadline(t *testing.T) {
	t.Run("Server", func(t *testing.T) {
		l, err := memory().Listen(t.Context(), "x")
		if err != nil {
			t.Fatal(err)
		}
		if err := (&Server{Handler: echo}).Serve(t.Context(), l); !errors.Is(err, ErrNoPolicy) {
			t.Errorf("Serve: %v", err)
		}
	})
	for _, cfg := range []*Config{nil, {Events: func(e Event) { t.Errorf("unexpected event %v", e) }}} {
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer inner.Close()
		if _, err := NewListener(inner, cfg).Accept(); !errors.Is(err, ErrNoPolicy) {
			t.Errorf("Accept: %v", err)
		}
	}
}

func TestRule4AnOpeningPhaseWithoutDataEnds(t *testing.T) {
	t.Run("a session without a stream", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			w := serve(t, &Server{Config: Config{Policy: Sliding(time.Hour), Opening: 3 * sec}}, memory())
			defer w.end()
			sess, err := w.net.Dial(t.Context(), w.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer sess.Close(0, "")
			w.wantEnd(time.Now().Add(3*sec), NoHello)
			var e *transport.CloseError
			if !errors.As(context.Cause(sess.Context()), &e) || e.Code != NoHello.Code() {
				t.Errorf("the peer got %v", context.Cause(sess.Context()))
			}
		})
	})
	bothKinds(t, func(t *testing.T, tr transport.Transport) {
		w := serve(t, &Server{Config: Config{Policy: Sliding(time.Hour)}}, tr)
		defer w.end()
		start := time.Now()
		sess, _ := w.dial()
		defer sess.Close(0, "")
		w.wantEnd(start.Add(10*sec), NoHello)
	})
}

// A client beats as often as the Hello asks for, which may be less often than once in the
// opening phase.
func TestRule4AHelloEndsTheOpeningPhase(t *testing.T) {
	for _, evidence := range []codec.Evidence{codec.Bytes, codec.Messages, codec.Beats} {
		bothKinds(t, func(t *testing.T, tr transport.Transport) {
			w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute), Evidence: evidence}, Codec: codec.Auto}, tr)
			defer w.end()
			c := w.client(Client{})
			var wg sync.WaitGroup
			wg.Go(func() { io.Copy(io.Discard, c) })
			time.Sleep(5 * time.Minute)
			if c.End() != nil {
				t.Errorf("a peer that beats every %v was ended: %v", c.PeerHello().Beat, c.End())
			}
			c.Close()
			wg.Wait()
		})
	}
}

// A reason that the peer has sent stays, however late the end is noticed.
func TestRule5ThePeersReasonIsKept(t *testing.T) {
	bothKinds(t, func(t *testing.T, tr transport.Transport) {
		w := serve(t, &Server{Config: Config{Policy: Fixed(10 * sec)}, Codec: codec.Auto}, tr)
		defer w.end()
		c := w.client(Client{Policy: Sliding(30 * sec)})
		_, err := io.Copy(io.Discard, c) // c is not closed
		time.Sleep(time.Minute)
		if e := c.End(); e == nil || e.Reason != FixedDeadline || e.Initiator != Peer {
			t.Errorf("read until %v, and ended: %v", err, e)
		}
	})
}

// A stream that ends with its session has its own figures.
func TestRule5AStreamHasItsOwnAge(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := serve(t, &Server{Config: Config{Policy: Fixed(10 * sec)}}, memory())
		defer w.end()
		sess, st := w.dial()
		defer sess.Close(0, "")
		say(t, st, "early")
		time.Sleep(7 * sec)
		late, err := sess.OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		say(t, late, "late")
		time.Sleep(2 * sec)
		say(t, late, "later")
		time.Sleep(2 * sec)
		for _, e := range w.closed(KindStream) {
			age, silence := 10*sec, 10*sec
			if e.BytesIn == int64(len("late")+len("later")) {
				age, silence = 3*sec, sec
			}
			if e.End.Age < age || e.End.Age > age+50*ms || e.End.Silence > silence+50*ms {
				t.Errorf("ended: %v, of age %v, silent for %v; want %v and %v", e.End, e.End.Age, e.End.Silence, age, silence)
			}
		}
		if n := len(w.closed(KindStream)); n != 2 {
			t.Errorf("%d streams ended", n)
		}
	})
}

func TestRule5AcceptedIsLivePlusClosed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := serve(t, &Server{Config: Config{Policy: Earliest(Sliding(sec), MaxAge(3*sec, sec))}, Streams: Fixed(2 * sec)}, memory())
		defer w.end()
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			for ctx.Err() == nil {
				for _, k := range []Kind{KindSession, KindStream} {
					c := w.srv.Counts(k)
					sum := c.Live
					for _, by := range []map[Reason]uint64{c.Closed, c.Claimed} {
						for _, n := range by {
							sum += n
						}
					}
					if sum != c.Accepted {
						t.Errorf("accepted %d, live and closed %d", c.Accepted, sum)
					}
				}
				time.Sleep(7 * ms)
			}
		})
		var peers sync.WaitGroup
		for i := range 60 {
			peers.Go(func() {
				time.Sleep(time.Duration(i) * 31 * ms)
				sess, st := w.dial()
				for range i % 7 {
					if _, err := st.Write([]byte("hello")); err != nil {
						break
					}
					time.Sleep(500 * ms)
				}
				switch i % 3 {
				case 0:
					sess.Close(0, "")
				case 1:
					st.Reset(0)
				}
				<-sess.Context().Done()
			})
		}
		peers.Wait()
		cancel()
		wg.Wait()
		if c := w.srv.Counts(KindSession); c.Accepted != 60 {
			t.Errorf("accepted %d", c.Accepted)
		}
	})
}

func TestRule6ThePeerGetsTheReason(t *testing.T) {
	for _, tt := range []struct {
		policy Policy
		want   Reason
	}{{Fixed(sec), FixedDeadline}, {Sliding(sec), Silent}, {Earliest(MaxAge(sec, 0), Sliding(time.Hour)), Aged}} {
		t.Run(tt.want.String(), func(t *testing.T) {
			bothKinds(t, func(t *testing.T, tr transport.Transport) {
				w := serve(t, &Server{Config: Config{Policy: tt.policy}, Codec: codec.Auto}, tr)
				defer w.end()
				c := w.client(Client{NoBeat: true})
				defer c.Close()
				start := time.Now()
				_, err := c.Read(make([]byte, 10))
				var e *Error
				if !errors.As(err, &e) || e.Reason != tt.want || e.Initiator != Peer {
					t.Fatalf("the client sees %v", err)
				}
				if d := time.Since(start); d < sec {
					t.Errorf("after %v", d)
				}
				if e.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("the peer's deadline is not this end's")
				}
				synctest.Wait()
				if got := w.one(KindSession).End.Reason; got != tt.want {
					t.Errorf("the server ended: %v", got)
				}
			})
		})
	}
}

func TestRule6AStreamGetsItsReasonAndTheSessionStays(t *testing.T) {
	for _, c := range []codec.Codec{codec.Raw, codec.Auto} {
		t.Run(c.Name(), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute)}, Streams: Fixed(sec), Codec: c}, memory())
				defer w.end()
				sess, st := w.dial()
				defer sess.Close(0, "")
				for range 3 {
					say(t, st, "hello")
					_, err := st.Read(make([]byte, 1))
					var e *transport.CloseError
					if !errors.As(err, &e) || e.Code != FixedDeadline.Code() {
						t.Fatalf("the stream ended %v", err)
					}
					if st, err = sess.OpenStream(t.Context()); err != nil {
						t.Fatalf("the session did not live on: %v", err)
					}
				}
			})
		})
	}
}

// If the server ends a client's stream, the client closes the session with Done, not with
// the stream's reason.
func TestRule6TheReasonOfAStreamIsNotTheSessions(t *testing.T) {
	for _, c := range []codec.Codec{codec.Raw, codec.Frame} {
		t.Run(c.Name(), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute)}, Streams: Fixed(sec), Codec: c}, memory())
				defer w.end()
				conn := w.client(Client{Codec: c})
				say(t, conn, "hello")
				io.Copy(io.Discard, conn)
				conn.Close()
				if e := conn.End(); e.Reason != FixedDeadline || e.Initiator != Peer {
					t.Errorf("the client ended: %v", e)
				}
				w.awaitClosed(KindSession)
				w.awaitClosed(KindStream) // its event may come a moment later
				if e := w.one(KindStream).End; e.Reason != FixedDeadline || e.Initiator != Local {
					t.Errorf("the server's stream ended %v", e)
				}
				if e := w.one(KindSession).End; e.Reason != Done || e.Initiator != Peer {
					t.Errorf("the server's session ended %v", e)
				}
			})
		})
	}
}

func TestRule8TheApplicationsDeadlinesStayItsOwn(t *testing.T) {
	bothKinds(t, func(t *testing.T, tr transport.Transport) {
		result := make(chan error, 2)
		var end *Conn
		w := serve(t, &Server{
			Config: Config{Policy: Sliding(sec)},
			Handler: func(ctx context.Context, c *Conn) {
				end = c
				c.Read(make([]byte, 8))
				// Its own deadline passes, and is not the end.
				c.SetReadDeadline(time.Now().Add(300 * ms))
				_, err := c.Read(make([]byte, 8))
				result <- err
				c.SetReadDeadline(time.Time{})
				_, err = c.Read(make([]byte, 8))
				result <- err
				var a, b *Error
				if !errors.As(err, &a) || !errors.As(context.Cause(ctx), &b) || a != b || a != c.End() {
					t.Errorf("Read says %v, the context %v, End %v", err, context.Cause(ctx), c.End())
				}
				if _, err := c.Write([]byte("x")); !errors.As(err, &b) || a != b {
					t.Errorf("Write says %v", err)
				}
			},
		}, tr)
		defer w.end()
		sess, st := w.dial()
		defer sess.Close(0, "")
		st.Write([]byte("hello"))
		start := time.Now()
		err := <-result
		var e *Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &e) || time.Since(start) != 300*ms {
			t.Errorf("the application's deadline: %v after %v", err, time.Since(start))
		}
		err = <-result
		var ended net.Error
		if !errors.As(err, &ended) || ended.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) || !errors.Is(err, net.ErrClosed) || !errors.Is(err, Silent) {
			t.Errorf("the engine's deadline: %v", err)
		}
		if !errors.As(err, &e) || e.Reason != Silent || e.Silence < sec || e.Age < sec || e.Age > sec+3*DefaultTick {
			t.Errorf("its figures: %+v", e)
		}
		synctest.Wait()
		_ = end
	})
}

func TestRule9OneJudge(t *testing.T) {
	// Both ends judge: when the link fails silently, each ends for its own
	// reasons and within its own bounds, and none lingers.
	inBubble(t, func(t *testing.T) {
		w := serve(t, &Server{Config: Config{Policy: Sliding(3 * sec)}, Codec: codec.Auto}, memory())
		defer w.end()
		cut := &cutter{Transport: w.net}
		w.net = cut
		c := w.client(Client{})
		defer c.Close()
		read := make(chan error, 1)
		go func() { _, err := c.Read(make([]byte, 1)); read <- err }()
		time.Sleep(20 * sec)
		if c.End() != nil || len(w.closed(KindSession)) > 0 {
			t.Fatalf("an idle, beating connection was ended: %v %v", c.End(), w.closed(KindSession))
		}
		transporttest.Cut(cut.last)
		start := time.Now()
		err := <-read
		var e *Error
		if !errors.As(err, &e) || e.Reason != Silent || e.Initiator != Local {
			t.Errorf("the client ended %v", err)
		}
		if d := time.Since(start); d < sec || d > 3*sec+3*DefaultTick {
			t.Errorf("the client noticed after %v", d)
		}
		time.Sleep(sec)
		synctest.Wait()
		if got := w.one(KindSession).End; got.Reason != Silent || got.Initiator != Local {
			t.Errorf("the server ended %v", got)
		}
	})
}

// A cutter keeps the session that it dialled last.
type cutter struct {
	transport.Transport
	last transport.Session
}

func (c *cutter) Dial(ctx context.Context, addr string) (transport.Session, error) {
	s, err := c.Transport.Dial(ctx, addr)
	c.last = s
	return s, err
}

func TestRule12ClosingIsComplete(t *testing.T) {
	bothKinds(t, func(t *testing.T, tr transport.Transport) {
		blocked := make(chan error, 2)
		var conn *Conn
		ready := make(chan struct{})
		w := serve(t, &Server{
			Config: Config{Policy: Sliding(time.Hour)},
			Handler: func(_ context.Context, c *Conn) {
				conn = c
				c.Read(make([]byte, 1))
				close(ready)
				var wg sync.WaitGroup
				wg.Go(func() { _, err := c.Read(make([]byte, 1)); blocked <- err })
				wg.Go(func() {
					for {
						if _, err := c.Write(make([]byte, 64<<10)); err != nil { // the peer does not read
							blocked <- err
							return
						}
					}
				})
				wg.Wait()
			},
		}, tr)
		defer w.end()
		sess, st := w.dial()
		defer sess.Close(0, "")
		st.Write([]byte("x"))
		<-ready
		synctest.Wait()
		start := time.Now()
		conn.CloseWith(Kicked, "by a test")
		for range 2 {
			err := <-blocked
			var e *Error
			if !errors.As(err, &e) || e.Reason != Kicked {
				t.Errorf("a blocked call returned %v", err)
			}
		}
		if d := time.Since(start); d > controlSlack {
			t.Errorf("it took %v", d)
		}
	})
}
