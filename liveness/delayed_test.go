package liveness_test

import (
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
)

// A delayed connection begins its at-th Write, and more further ones, late, as if its
// process had been stopped.
type delayed struct {
	net.Conn
	writes, at, more int
	late             time.Duration
	deadline         time.Time
}

func (c *delayed) SetWriteDeadline(t time.Time) error {
	c.deadline = t
	return c.Conn.SetWriteDeadline(t)
}

func (c *delayed) Write(p []byte) (int, error) {
	if c.writes++; c.at <= c.writes && c.writes <= c.at+c.more {
		time.Sleep(c.late)
		if !c.deadline.IsZero() && !time.Now().Before(c.deadline) {
			return 0, os.ErrDeadlineExceeded // as a socket does, which does not even try
		}
	}
	return c.Conn.Write(p)
}

// delayedPipes returns pipes whose server or client is delayed.
func delayedPipes(server, client *delayed) *pipes {
	n := newPipes()
	n.pair = func() (a, b net.Conn) {
		a, b = net.Pipe()
		if client != nil {
			client.Conn, a = a, client
		}
		if server != nil {
			server.Conn, b = b, server
		}
		return a, b
	}
	return n
}

// Control frames have little time to be sent. They are sent even if a stall of this
// process uses it up.
func TestRule10ControlFramesAreSentDespiteAStall(t *testing.T) {
	const tooLate = 60 * ms // for everything that is said in passing
	for name, test := range map[string]struct {
		server, client *delayed
		policy         Policy
		probed, beats  bool
	}{
		"Hello":               {server: &delayed{at: 1, late: tooLate}, policy: Sliding(10 * sec)},
		"Hello, four times":   {server: &delayed{at: 1, more: 3, late: tooLate}, policy: Sliding(time.Hour)},
		"Hello, with a probe": {server: &delayed{at: 1, late: tooLate}, policy: Sliding(10*sec, ProbeAfter(3*sec)), beats: true},
		"Ping":                {server: &delayed{at: 2, late: 15 * ms}, policy: Sliding(3*sec, ProbeAfter(sec)), probed: true},
		"Pong":                {client: &delayed{at: 2, late: tooLate}, policy: Sliding(3*sec, ProbeAfter(sec)), probed: true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := serve(t, &Server{Config: Config{Policy: test.policy}, Codec: codec.Frame, Handler: echo}, delayedPipes(test.server, test.client))
				began := time.Now()
				c := w.client(Client{NoBeat: !test.beats})
				if took := time.Since(began); took > sec {
					t.Errorf("Dial took %v", took)
				}
				var answering sync.WaitGroup
				if test.probed {
					answering.Go(func() { io.Copy(io.Discard, c) })
					time.Sleep(10 * sec)
				}
				if c.End() != nil || len(w.closed(KindSession)) > 0 {
					t.Errorf("a live peer is ended: %v, %v", c.End(), w.closed(KindSession))
				}
				c.Close()
				answering.Wait()
				w.end()
			})
		})
	}
}

func TestRule10TheCloseFrameIsSentDespiteAStall(t *testing.T) {
	for _, late := range []time.Duration{6 * ms, 15 * ms, 100 * ms} {
		inBubble(t, func(t *testing.T) {
			w := serve(t, &Server{Config: Config{Policy: Sliding(sec)}, Codec: codec.Frame, Handler: echo},
				delayedPipes(&delayed{at: 2, late: late}, nil))
			sess, st := w.dial()
			io.WriteString(st, "\xfeLN\x01"+hello)
			got, err := io.ReadAll(st)
			if err != nil || !strings.HasSuffix(string(got), "\x05\x02\x00") {
				t.Errorf("delayed by %v: the peer got %q, %v", late, got, err)
			}
			sess.Close(0, "")
			w.end()
		})
	}
}

// A buffering connection accepts its at-th Write but keeps it until something else is
// written and there is room, as TLS does with a truncated record.
type buffering struct {
	net.Conn
	writes, at int
	full       bool // from then on
	rest       []byte
	finished   bool // CloseWrite was called
}

func (c *buffering) CloseWrite() error { c.finished = true; return nil }

func (c *buffering) Write(p []byte) (int, error) {
	if c.writes++; c.writes == c.at {
		c.rest = append(c.rest, p...)
		return len(p), os.ErrDeadlineExceeded
	}
	if c.full && c.writes > c.at {
		return 0, os.ErrDeadlineExceeded
	}
	if len(c.rest) > 0 {
		n, err := c.Conn.Write(c.rest)
		if c.rest = c.rest[n:]; err != nil {
			return 0, err
		}
	}
	if len(p) == 0 {
		return 0, nil
	}
	return c.Conn.Write(p)
}

// A Write that the stream has accepted but buffers is not taken for sent.
func TestABufferedWriteIsFlushed(t *testing.T) {
	for name, full := range map[string]bool{"there is room again": false, "there is none": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				held := &buffering{at: 2, full: full}
				n := newPipes()
				n.pair = func() (a, b net.Conn) {
					a, held.Conn = net.Pipe()
					return a, held
				}
				w := serve(t, &Server{Config: Config{Policy: Sliding(time.Hour)}, Codec: codec.Frame, Drain: 5 * sec, Handler: echo}, n)
				sess, st := w.dial()
				var told bool
				var reading sync.WaitGroup
				reading.Go(func() {
					got, _ := io.ReadAll(st)
					told = strings.HasSuffix(string(got), "\x05\x0b\x00")
				})
				io.WriteString(st, "\xfeLN\x01"+hello)
				time.Sleep(sec)
				w.stop()
				reading.Wait()
				sess.Close(0, "")
				w.end()
				if told == full || held.finished == full {
					t.Errorf("the peer got the Close: %v, and EOF: %v", told, held.finished)
				}
			})
		})
	}
}
