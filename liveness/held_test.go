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

// A heldUp connection has one Write, of a number counted from 1, or some from then
// on, that begin late: its process was stopped, or others had the processor.
type heldUp struct {
	net.Conn
	writes, at, more int
	late             time.Duration
	deadline         time.Time
}

func (c *heldUp) SetWriteDeadline(t time.Time) error {
	c.deadline = t
	return c.Conn.SetWriteDeadline(t)
}

func (c *heldUp) Write(p []byte) (int, error) {
	if c.writes++; c.at <= c.writes && c.writes <= c.at+c.more {
		time.Sleep(c.late)
		if !c.deadline.IsZero() && !time.Now().Before(c.deadline) {
			return 0, os.ErrDeadlineExceeded // as a socket does, which does not even try
		}
	}
	return c.Conn.Write(p)
}

// heldUpPipes are those whose server is held up, or whose client.
func heldUpPipes(server, client *heldUp) *pipes {
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

// What livenet has to say in passing has little time, which a stall of its own
// may use up: it is said all the same.
func TestRule10AStallKeepsNothingBack(t *testing.T) {
	const tooLate = 60 * ms // for everything that is said in passing
	for name, test := range map[string]struct {
		server, client *heldUp
		policy         Policy
		probed, beats  bool
	}{
		"Hello":               {server: &heldUp{at: 1, late: tooLate}, policy: Sliding(10 * sec)},
		"Hello, four times":   {server: &heldUp{at: 1, more: 3, late: tooLate}, policy: Sliding(time.Hour)},
		"Hello, with a probe": {server: &heldUp{at: 1, late: tooLate}, policy: Sliding(10*sec, ProbeAfter(3*sec)), beats: true},
		"Ping":                {server: &heldUp{at: 2, late: 15 * ms}, policy: Sliding(3*sec, ProbeAfter(sec)), probed: true},
		"Pong":                {client: &heldUp{at: 2, late: tooLate}, policy: Sliding(3*sec, ProbeAfter(sec)), probed: true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := serve(t, &Server{Config: Config{Policy: test.policy}, Codec: codec.Frame, Handler: echo}, heldUpPipes(test.server, test.client))
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

func TestRule10AStallTakesNoFarewellsTime(t *testing.T) {
	for _, late := range []time.Duration{6 * ms, 15 * ms, 100 * ms} {
		inBubble(t, func(t *testing.T) {
			w := serve(t, &Server{Config: Config{Policy: Sliding(sec)}, Codec: codec.Frame, Handler: echo},
				heldUpPipes(&heldUp{at: 2, late: late}, nil))
			sess, st := w.dial()
			io.WriteString(st, "\xfeLN\x01"+hello)
			got, err := io.ReadAll(st)
			if err != nil || !strings.HasSuffix(string(got), "\x05\x02\x00") {
				t.Errorf("held up for %v: the peer is told %q, %v", late, got, err)
			}
			sess.Close(0, "")
			w.end()
		})
	}
}

// A holdsBack connection takes all of one Write, of a number counted from 1, and
// keeps it back until there is room and something else is written, as TLS does
// where a record is cut.
type holdsBack struct {
	net.Conn
	writes, at int
	full       bool // from then on
	rest       []byte
	finished   bool // CloseWrite was called
}

func (c *holdsBack) CloseWrite() error { c.finished = true; return nil }

func (c *holdsBack) Write(p []byte) (int, error) {
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

// What a stream has taken, and holds back, is not out.
func TestWhatIsHeldBackIsNotSaid(t *testing.T) {
	for name, full := range map[string]bool{"there is room again": false, "there is none": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				held := &holdsBack{at: 2, full: full}
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
					t.Errorf("the peer is told: %v, and reads EOF: %v", told, held.finished)
				}
			})
		})
	}
}
