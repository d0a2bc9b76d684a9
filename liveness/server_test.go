package liveness_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/transporttest"
)

func TestClientBeatsAsTheHelloAsks(t *testing.T) {
	for _, configured := range []time.Duration{0, time.Hour, sec} { // too slow, or faster
		t.Run(configured.String(), func(t *testing.T) {
			bothKinds(t, func(t *testing.T, tr transport.Transport) {
				w := serve(t, &Server{Config: Config{Policy: Sliding(6 * sec)}, Codec: codec.Auto}, tr)
				defer w.end()
				c := w.client(Client{Beat: configured})
				var wg sync.WaitGroup
				wg.Go(func() { io.Copy(io.Discard, c) })
				if h := c.PeerHello(); h == nil || h.Timeout != 6*sec || h.Beat != 2*sec {
					t.Errorf("the server's Hello: %+v", h)
				}
				time.Sleep(time.Minute)
				if c.End() != nil {
					t.Fatalf("an idle connection ended: %v", c.End())
				}
				c.Close()
				wg.Wait()
				synctest.Wait()
				e := w.one(KindSession)
				want := 30.0
				if configured == sec {
					want = 60
				}
				// Up to a tenth faster, by jitter.
				if n := float64(e.Beats); n < want*0.97 || n > want*1.15 {
					t.Errorf("%v beats in a minute, want about %v", n, want)
				}
				if e.End.Reason != Done || e.End.Initiator != Peer {
					t.Errorf("ended %v", e.End)
				}
			})
		})
	}
}

func TestClientDoesNotBeatWhileDataFlows(t *testing.T) {
	for _, counts := range []codec.Evidence{codec.Bytes, codec.Beats} {
		bothKinds(t, func(t *testing.T, tr transport.Transport) {
			w := serve(t, &Server{Config: Config{Policy: Sliding(3 * sec), Evidence: counts}, Codec: codec.Auto}, tr)
			defer w.end()
			c := w.client(Client{})
			start := time.Now()
			for time.Since(start) < 30*sec {
				say(t, c, "data")
				time.Sleep(500 * ms)
			}
			c.Close()
			synctest.Wait()
			n := w.one(KindSession).Beats
			if counts == codec.Bytes && n != 0 {
				t.Errorf("%d beats while data flowed", n)
			}
			if counts == codec.Beats && (n < 28 || n > 35) {
				t.Errorf("%d beats in 30 s, though the server counts nothing else", n)
			}
		})
	}
}

func TestBeatsContinueAfterTheData(t *testing.T) {
	// The client has said all it had to say, and waits for a slow answer.
	bothKinds(t, func(t *testing.T, tr transport.Transport) {
		w := serve(t, &Server{
			Config: Config{Policy: Sliding(3 * sec)}, Codec: codec.Auto,
			Handler: func(_ context.Context, c *Conn) {
				q, _ := io.ReadAll(c)
				time.Sleep(30 * sec)
				fmt.Fprintf(c, "you said %s", q)
			},
		}, tr)
		defer w.end()
		c := w.client(Client{})
		io.WriteString(c, "hello")
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("more")); err == nil {
			t.Error("written after CloseWrite")
		}
		if got, err := io.ReadAll(c); err != nil || string(got) != "you said hello" {
			t.Errorf("got %q, %v", got, err)
		}
		c.Close()
	})
}

func TestServerProbesASilentPeer(t *testing.T) {
	bothKinds(t, func(t *testing.T, tr transport.Transport) {
		w := serve(t, &Server{Config: Config{Policy: Sliding(3*sec, ProbeAfter(sec))}, Codec: codec.Auto}, tr)
		defer w.end()
		c := w.client(Client{NoBeat: true})
		var wg sync.WaitGroup
		wg.Go(func() { io.Copy(io.Discard, c) }) // answers, and never beats by itself
		time.Sleep(30 * sec)
		if c.End() != nil {
			t.Fatalf("ended, though it answers every probe: %v", c.End())
		}
		c.Close()
		wg.Wait()
		synctest.Wait()
		if n := w.one(KindSession).Beats; n < 25 || n > 31 {
			t.Errorf("%d answers", n)
		}
	})
}

func TestDrain(t *testing.T) {
	bothKinds(t, func(t *testing.T, tr transport.Transport) {
		w := serve(t, &Server{Config: Config{Policy: Sliding(time.Hour)}, Codec: codec.Auto, Drain: 5 * sec}, tr)
		// One that closes when it gets the GoAway, one that ignores it.
		polite := w.client(Client{})
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := polite.Read(make([]byte, 1))
			var e *Error
			if !errors.As(err, &e) || e.Reason != Draining || e.Initiator != Peer {
				t.Errorf("the draining peer got %v", err)
			}
			polite.Close()
		})
		sess, st := w.dial()
		say(t, st, "I am staying")
		start := time.Now()
		w.stop()
		if err := <-w.served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		w.served <- nil
		if d := time.Since(start); d < 5*sec || d > 5*sec+controlSlack {
			t.Errorf("draining took %v", d)
		}
		sess.Close(0, "")
		wg.Wait()
		for _, e := range w.closed(KindSession) {
			if e.End.Reason != Draining || e.End.Initiator != Local {
				t.Errorf("ended %v", e.End)
			}
		}
		w.end()
	})
}

func TestDrainEndsWithTheLastSession(t *testing.T) {
	bothKinds(t, func(t *testing.T, tr transport.Transport) {
		w := serve(t, &Server{Config: Config{Policy: Sliding(time.Hour)}, Codec: codec.Auto, Drain: time.Hour}, tr)
		c := w.client(Client{})
		var wg sync.WaitGroup
		wg.Go(func() { io.Copy(io.Discard, c) })
		wg.Go(func() { <-c.Draining(); c.Close() })
		time.Sleep(sec)
		start := time.Now()
		w.stop()
		wg.Wait()
		w.end()
		if d := time.Since(start); d > 2*sec {
			t.Errorf("draining took %v", d)
		}
	})
}

// Invalid input has one end and one reason, and affects no other connection.
func TestRule5InvalidInput(t *testing.T) {
	tests := []struct {
		name  string
		codec codec.Codec
		sends string
		fin   bool
		want  Reason
	}{
		{"garbage before the preface", codec.Frame, "GET / HTTP/1.1\r\n", false, ProtocolError},
		{"a wrong version", codec.Auto, "\xfeLN\x02", false, ProtocolError},
		{"an endless preface", codec.Frame, strings.Repeat("\xfe", 100), false, ProtocolError},
		{"a preface and nothing more", codec.Auto, "\xfeLN\x01", false, NoHello},
		{"an oversized frame", codec.Auto, "\xfeLN\x01" + hello + "\x02\xff\xff\xff\xff\x0f", false, TooLarge},
		{"a truncated frame", codec.Auto, "\xfeLN\x01" + hello + "\x02\x10half", true, ProtocolError},
		{"an unknown kind", codec.Auto, "\xfeLN\x01" + hello + "\x7f", false, ProtocolError},
		{"a Hello twice", codec.Auto, "\xfeLN\x01" + hello + hello, false, ProtocolError},
		{"an endless line", codec.Line, strings.Repeat("x", codec.MaxLine+1), false, TooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bothKinds(t, func(t *testing.T, tr transport.Transport) {
				if _, single := tr.(*pipes); single && tt.fin {
					t.Skip("a net.Pipe can't be closed by half")
				}
				w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute), Opening: 10 * sec, Evidence: codec.Messages}, Codec: tt.codec}, tr)
				defer w.end()
				neighbour := w.client(Client{Codec: tt.codec, Beat: sec})
				var wg sync.WaitGroup
				wg.Go(func() { io.Copy(io.Discard, neighbour) })
				sess, st := w.dial()
				wg.Go(func() { io.Copy(io.Discard, st) })
				io.WriteString(st, tt.sends)
				if tt.fin {
					st.CloseWrite()
				}
				wait := sec
				if tt.want == NoHello {
					wait = 11 * sec
				}
				time.Sleep(wait)
				synctest.Wait()
				ends := append(w.closed(KindStream), w.closed(KindSession)...)
				if len(ends) == 0 {
					t.Error("not ended")
				}
				for _, e := range ends {
					if e.End.Reason != tt.want || e.End.Initiator != Local {
						t.Errorf("a %v ended %v, want %v", e.Kind, e.End, tt.want)
					}
				}
				if neighbour.End() != nil {
					t.Errorf("the neighbour was disturbed: %v", neighbour.End())
				}
				neighbour.Close()
				sess.Close(0, "")
				wg.Wait()
			})
		})
	}
}

// hello is a client's Hello that asks for nothing.
const hello = "\x01\x03\x00\x00\x00"

// Beats at the rate that the server asks for are never too many.
func TestShortTimeoutsMayBeatOften(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := serve(t, &Server{
			Config: Config{Policy: Sliding(10 * ms), Engine: &Engine{Tick: ms}, Evidence: codec.Beats}, Codec: codec.Auto,
		}, memory())
		defer w.end()
		c := w.client(Client{Engine: &Engine{Tick: ms}})
		var wg sync.WaitGroup
		wg.Go(func() { io.Copy(io.Discard, c) })
		time.Sleep(5 * sec)
		if c.End() != nil {
			t.Errorf("ended: %v", c.End())
		}
		c.Close()
		wg.Wait()
	})
}

func TestTooManyBeats(t *testing.T) {
	bothKinds(t, func(t *testing.T, tr transport.Transport) {
		w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute), MaxBeats: 10}, Codec: codec.Line}, tr)
		defer w.end()
		sess, st := w.dial()
		defer sess.Close(0, "")
		var wg sync.WaitGroup
		wg.Go(func() { io.Copy(io.Discard, st) })
		for range 50 { // at the limit, for a while
			io.WriteString(st, "PING\n")
			time.Sleep(100 * ms)
		}
		// A stall of ours, after which they come all at once, is no flood.
		time.Sleep(3 * sec)
		io.WriteString(st, strings.Repeat("PING\n", 25))
		synctest.Wait()
		if n := len(w.closed(KindStream)) + len(w.closed(KindSession)); n != 0 {
			t.Fatal("ended within the limit")
		}
		io.WriteString(st, strings.Repeat("PING\n", 30))
		wg.Wait()
		synctest.Wait()
		ends := append(w.closed(KindSession), w.closed(KindStream)...)
		if len(ends) == 0 || ends[len(ends)-1].End.Reason != TooManyBeats {
			t.Errorf("ends: %v", ends)
		}
	})
}

// Beats that lay unread are not too many, whether they are read at once or in pieces, as
// from TLS.
func TestBeatsUnreadSinceTheAcceptAreNotTooMany(t *testing.T) {
	for _, piece := range []int{64, 32 << 10} {
		inBubble(t, func(t *testing.T) {
			w := serve(t, &Server{
				Config: Config{Policy: Fixed(time.Hour), Opening: time.Hour, MaxBeats: 10}, Codec: codec.Line,
				Handler: func(_ context.Context, c *Conn) {
					time.Sleep(time.Minute)
					for b := make([]byte, piece); ; {
						if _, err := c.Read(b); err != nil {
							return
						}
					}
				},
			}, memory())
			defer w.end()
			sess, st := w.dial()
			for range 70 {
				io.WriteString(st, "PING\nline\n")
				time.Sleep(sec)
			}
			if ends := append(w.closed(KindSession), w.closed(KindStream)...); len(ends) > 0 {
				t.Errorf("in pieces of %d, one beat a second, of ten: %v", piece, ends[0].End)
			}
			sess.Close(0, "")
		})
	}
}

func TestMaxBeatsIsCutToInt32(t *testing.T) {
	for _, most := range []int{math.MaxInt, math.MaxInt32, math.MaxInt32 + 1} {
		inBubble(t, func(t *testing.T) {
			w := serve(t, &Server{Config: Config{Policy: Sliding(3 * sec), MaxBeats: most}, Codec: codec.Auto}, memory())
			defer w.end()
			c := w.client(Client{})
			var wg sync.WaitGroup
			wg.Go(func() { io.Copy(io.Discard, c) })
			time.Sleep(10 * sec)
			if c.End() != nil {
				t.Errorf("up to %d beats: %v", most, c.End())
			}
			c.Close()
			wg.Wait()
		})
	}
}

// A client that does not know the server's evidence beats while data flows, too.
func TestClientWithoutAHelloBeatsWhileDataFlows(t *testing.T) {
	bothKinds(t, func(t *testing.T, tr transport.Transport) {
		w := serve(t, &Server{Config: Config{Policy: Sliding(3 * sec), Evidence: codec.Beats}, Codec: codec.Line}, tr)
		defer w.end()
		c := w.client(Client{Codec: codec.Line, Beat: sec})
		var wg sync.WaitGroup
		wg.Go(func() { io.Copy(io.Discard, c) })
		for range 40 {
			io.WriteString(c, "data\n")
			time.Sleep(500 * ms)
		}
		if c.End() != nil || len(w.closed(KindSession)) > 0 {
			t.Errorf("a client that beats every second was ended: %v, %v", c.End(), w.closed(KindSession))
		}
		c.Close()
		wg.Wait()
	})
}

// A peer that only answers probes, and whose window was full for a while, is probed when
// it has room.
func TestRule10APeerIsProbedOnceItsWindowOpens(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const room = 64
		w := serve(t, &Server{
			Config: Config{Policy: Sliding(9*sec, ProbeAfter(3*sec))}, Codec: codec.Line,
			Handler: func(_ context.Context, c *Conn) {
				for b := make([]byte, 64); ; {
					if _, err := c.Read(b); err != nil {
						return
					}
					io.WriteString(c, strings.Repeat("x", room-1)+"\n")
				}
			},
		}, &transporttest.Memory{Buffer: room})
		defer w.end()
		sess, st := w.dial()
		io.WriteString(st, "hi\n")
		time.Sleep(4 * sec)
		var wg sync.WaitGroup
		wg.Go(func() {
			for lines := bufio.NewScanner(st); lines.Scan(); {
				if lines.Text() == "PING" {
					io.WriteString(st, "PONG\n")
				}
			}
		})
		time.Sleep(time.Minute)
		if ends := append(w.closed(KindSession), w.closed(KindStream)...); len(ends) > 0 {
			t.Errorf("it answers every Ping: %v", ends[0].End)
		}
		sess.Close(0, "")
		wg.Wait()
	})
}

func TestProbeWithoutACodecDoesNothing(t *testing.T) {
	bothKinds(t, func(t *testing.T, tr transport.Transport) {
		w := serve(t, &Server{
			Config:  Config{Policy: Sliding(9*sec, ProbeAfter(3*sec))},
			Handler: func(_ context.Context, c *Conn) { io.Copy(io.Discard, c) },
		}, tr)
		defer w.end()
		start := time.Now()
		sess, st := w.dial()
		io.WriteString(st, "hi")
		w.awaitClosed(KindSession)
		if e := w.one(KindSession); e.End.Reason != Silent || time.Since(start) > 9*sec+3*DefaultTick {
			t.Errorf("ended %v after %v", e.End, time.Since(start))
		}
		sess.Close(0, "")
	})
}

// Peers that do not read don't delay the probes of others.
func TestRule14BlockedPeersDelayNoProbes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const room, blocked, probe = 64, 640, 3 * sec
		w := serve(t, &Server{
			Config: Config{Policy: Sliding(9*sec, ProbeAfter(probe))}, Codec: codec.Line,
			Handler: func(_ context.Context, c *Conn) {
				for b := make([]byte, 64); ; {
					n, err := c.Read(b)
					if err != nil {
						return
					}
					if n == len("fill\n") {
						io.WriteString(c, strings.Repeat("x", room-1)+"\n")
					}
				}
			},
		}, &transporttest.Memory{Buffer: room})
		defer w.end()
		var sessions []transport.Session
		var asking sync.WaitGroup
		answering := func() {
			sess, st := w.dial()
			sessions = append(sessions, sess)
			io.WriteString(st, "hi\n")
			asking.Go(func() {
				heard := time.Now()
				for lines, rounds := bufio.NewScanner(st), 0; rounds < 2 && lines.Scan(); rounds++ {
					if late := time.Since(heard) - probe; late > 300*ms {
						t.Errorf("round %d: probed %v late", rounds, late)
					}
					heard = time.Now()
					io.WriteString(st, "PONG\n")
				}
			})
		}
		for range blocked {
			sess, st := w.dial()
			io.WriteString(st, "fill\n")
			sessions = append(sessions, sess)
		}
		for range 10 { // so that some are probed after those, but not all
			answering()
			time.Sleep(300 * ms)
		}
		asking.Wait()
		for _, s := range sessions {
			s.Close(0, "")
		}
	})
}

// A client that can't ping, within a line or after CloseWrite, does not take missing
// answers for silence, unless its Policy is set. It pings as soon as it can.
func TestRule10NoJudgementWhilePingIsImpossible(t *testing.T) {
	for name, test := range map[string]struct {
		policy Policy
		says   string
		ends   bool // says no more
		silent bool // is what the server is taken for

		busy time.Duration // the server is, when the line has been ended
	}{
		"after the end":                 {says: "query\n", ends: true},
		"within a line":                 {says: "quer"},
		"within a line, and long after": {says: "quer", busy: time.Minute, silent: true},
		"after the end, with a Policy":  {policy: Sliding(3 * sec), says: "query\n", ends: true, silent: true},
	} {
		t.Run(name, func(t *testing.T) {
			bothKinds(t, func(t *testing.T, tr transport.Transport) {
				if _, single := tr.(*pipes); single && test.ends {
					t.Skip("a net.Pipe can't be closed by half")
				}
				w := serve(t, &Server{
					Config: Config{Policy: Fixed(time.Hour)}, Codec: codec.Line,
					Handler: func(_ context.Context, c *Conn) {
						if test.ends {
							io.Copy(io.Discard, c)
						} else {
							io.CopyN(io.Discard, c, int64(len(test.says)))
						}
						if test.ends {
							time.Sleep(20 * sec)
							io.WriteString(c, "answer\n")
						}
						time.Sleep(test.busy)
						io.Copy(io.Discard, c)
					},
				}, tr)
				defer w.end()
				c := w.client(Client{Codec: codec.Line, Beat: sec, Policy: test.policy})
				defer c.Close()
				io.WriteString(c, test.says)
				if test.ends {
					c.CloseWrite()
				}
				b := make([]byte, len("answer\n"))
				if !test.ends {
					// It ends just before it would be judged; the answer takes its time.
					time.Sleep(5*3*sec - 50*ms)
					io.WriteString(c, "y\n")
					c.SetReadDeadline(time.Now().Add(10 * sec))
				}
				_, err := io.ReadFull(c, b)
				switch end, ended := errors.AsType[*Error](err); {
				case test.silent:
					if !ended || end.Reason != Silent {
						t.Errorf("got %q, %v", b, err)
					}
				case test.ends && err != nil, !test.ends && !errors.Is(err, os.ErrDeadlineExceeded), c.End() != nil:
					t.Errorf("got %q, %v: given up after %v", b, err, c.End())
				}
			})
		})
	}
}

func TestRule5APanicIsOneEnd(t *testing.T) {
	bothKinds(t, func(t *testing.T, tr transport.Transport) {
		w := serve(t, &Server{
			Config: Config{Policy: Sliding(time.Minute)},
			Handler: func(_ context.Context, c *Conn) {
				buf := make([]byte, 10)
				if n, _ := c.Read(buf); string(buf[:n]) == "panic" {
					panic("test panic")
				}
				c.Write(buf[:5])
				c.Read(buf)
			},
		}, tr)
		defer w.end()
		other, st := w.dial()
		say(t, st, "hello")
		bad, st2 := w.dial()
		io.WriteString(st2, "panic")
		io.Copy(io.Discard, st2)
		synctest.Wait()
		ends := append(w.closed(KindSession), w.closed(KindStream)...)
		if len(ends) != 1 || ends[0].End.Reason != Internal || !strings.Contains(ends[0].End.Error(), "test panic") {
			t.Errorf("ends: %v", ends)
		}
		if other.Context().Err() != nil {
			t.Error("another session was disturbed")
		}
		other.Close(0, "")
		bad.Close(0, "")
	})
}

// An outOfDescriptors is a listener that has no file descriptors for a while.
type outOfDescriptors struct {
	transport.Listener
	failures atomic.Int32
	times    []time.Time
}

func (s *outOfDescriptors) Accept(ctx context.Context) (transport.Session, error) {
	if s.failures.Add(-1) >= 0 {
		s.times = append(s.times, time.Now())
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	return s.Listener.Accept(ctx)
}

func TestAcceptErrorsBackOffAndGoOn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		mem := memory()
		inner, err := mem.Listen(t.Context(), "x")
		if err != nil {
			t.Fatal(err)
		}
		l := &outOfDescriptors{Listener: inner}
		l.failures.Store(12)
		w := &world{t: t, net: mem, addr: "x", served: make(chan error, 1)}
		w.srv = &Server{Config: Config{Policy: Sliding(time.Minute), Events: w.record, Engine: new(Engine)}, Handler: echo}
		start := time.Now()
		go func() { w.served <- w.srv.Serve(t.Context(), l) }()
		sess, st := w.dial()
		say(t, st, "hello")
		sess.Close(0, "")
		if d := time.Since(start); d < 2*sec || d > 6*sec {
			t.Errorf("12 failures took %v", d)
		}
		failed := 0
		w.mu.Lock()
		events := w.events
		w.mu.Unlock()
		for _, e := range events {
			if e.What == AcceptFailed && errors.Is(e.Err, syscall.EMFILE) {
				failed++
			}
		}
		if failed != 12 {
			t.Errorf("%d failures reported", failed)
		}
		w.end()
	})
}

func TestAFailedListenerEndsServe(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		mem := memory()
		l, err := mem.Listen(t.Context(), "x")
		if err != nil {
			t.Fatal(err)
		}
		srv := &Server{Config: Config{Policy: Sliding(time.Minute), Engine: new(Engine)}, Handler: echo}
		served := make(chan error, 1)
		go func() { served <- srv.Serve(t.Context(), l) }()
		synctest.Wait()
		l.Close()
		if err := <-served; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
		if err := srv.Serve(t.Context(), l); err == nil {
			t.Error("served twice")
		}
	})
}

func TestInvalidServers(t *testing.T) {
	for name, srv := range map[string]*Server{
		"no handler":         {Config: Config{Policy: Fixed(1)}},
		"raw knows no beats": {Config: Config{Policy: Fixed(1), Evidence: codec.Beats}, Handler: echo},
		"raw, said out loud": {Config: Config{Policy: Fixed(1), Evidence: codec.Messages}, Handler: echo, Codec: codec.Raw},
	} {
		l, err := memory().Listen(t.Context(), "x")
		if err != nil {
			t.Fatal(err)
		}
		if err := srv.Serve(t.Context(), l); err == nil {
			t.Errorf("%s: served", name)
		}
	}
}

// A withIdleTimeout is a listener of a transport that has an idle timeout.
type withIdleTimeout struct {
	transport.Listener
	timeout time.Duration
}

func (h withIdleTimeout) IdleTimeout() time.Duration { return h.timeout }

func TestRule9ServeRefusesAShorterIdleTimeout(t *testing.T) {
	for _, tt := range []struct {
		policy  Policy
		timeout time.Duration
		refused bool
	}{
		{Sliding(4 * sec), 30 * sec, false},
		{Sliding(30 * sec), 30 * sec, true},
		{Fixed(time.Minute), 30 * sec, true},
		{Earliest(Sliding(time.Hour), MaxAge(20*sec, 0)), 30 * sec, false},
		{Sliding(time.Hour), 0, false},
	} {
		inBubble(t, func(t *testing.T) {
			l, err := memory().Listen(t.Context(), "x")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			srv := &Server{Config: Config{Policy: tt.policy}, Handler: echo}
			served := make(chan error, 1)
			go func() { served <- srv.Serve(ctx, withIdleTimeout{l, tt.timeout}) }()
			synctest.Wait()
			cancel()
			if err := <-served; (err != nil) != tt.refused {
				t.Errorf("%v on a transport of %v timeout: %v", tt.policy, tt.timeout, err)
			}
		})
	}
}

func TestDialTimesOutWithoutAHello(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		// A server that speaks lines has no Hello to send.
		w := serve(t, &Server{
			Config: Config{Policy: Sliding(time.Minute)}, Codec: codec.Line,
			Handler: func(_ context.Context, c *Conn) { io.Copy(io.Discard, c) },
		}, memory())
		defer w.end()
		ctx, cancel := context.WithTimeout(t.Context(), sec)
		defer cancel()
		_, err := (&Client{Engine: new(Engine)}).Dial(ctx, w.net, w.addr)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Dial: %v", err)
		}
	})
}

func TestALongSessionCarriesShortRequests(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := serve(t, &Server{Config: Config{Policy: Sliding(10 * sec)}, Streams: Fixed(sec)}, memory())
		defer w.end()
		sess, st := w.dial()
		for range 20 {
			say(t, st, "request")
			if _, err := st.Read(make([]byte, 1)); err == nil {
				t.Fatal("the stream lives on")
			}
			time.Sleep(3 * sec) // the session's timeout is never reached
			var err error
			if st, err = sess.OpenStream(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		sess.Close(0, "")
		synctest.Wait()
		for _, e := range w.closed(KindStream)[:19] {
			if e.End.Reason != FixedDeadline || e.Policy != "fixed 1s" || e.Session == 0 {
				t.Errorf("%+v", e)
			}
		}
	})
}

// All events were emitted when Serve returns.
func TestServeReturnsAfterTheLastEvent(t *testing.T) {
	bothKinds(t, func(t *testing.T, tr transport.Transport) {
		var told atomic.Int32
		srv := &Server{Config: Config{Policy: Fixed(sec)}, Handler: func(_ context.Context, c *Conn) { io.Copy(io.Discard, c) }}
		w := serve(t, srv, slowEvents{tr, srv, &told})
		sess, st := w.dial()
		st.Write([]byte("x"))
		time.Sleep(sec + DefaultTick) // the engine is at it now
		srv.Close()
		if err := <-w.served; err != nil {
			t.Error(err)
		}
		opened := srv.Counts(KindSession).Accepted + srv.Counts(KindStream).Accepted
		if n := told.Load(); n == 0 || uint64(n) != opened {
			t.Errorf("%d of %d ends reported when Serve returned", n, opened)
		}
		sess.Close(0, "")
	})
}

// slowEvents makes a server slow to emit Closed events.
type slowEvents struct {
	transport.Transport
	srv  *Server
	told *atomic.Int32
}

func (s slowEvents) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	s.srv.Events = func(e Event) {
		if e.What == Closed {
			time.Sleep(sec)
			s.told.Add(1)
		}
	}
	return s.Transport.Listen(ctx, addr)
}
