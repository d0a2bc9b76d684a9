package liveness_test

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	. "github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

// A session serves MaxStreams streams at a time; the others wait.
func TestMaxStreams(t *testing.T) {
	t.Parallel()
	const most = 4
	inBubble(t, func(t *testing.T) {
		w := serve(t, &Server{Config: Config{Policy: Sliding(10 * sec)}, MaxStreams: most}, memory())
		testMaxStreams(t, w, most)
	})
	for _, name := range []string{"yamux", "quic"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
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
	// The session's end is noticed without an Accept.
	if st, err := sess.OpenStream(t.Context()); err == nil {
		io.WriteString(st, "x")
	}
	sess.Close(0, "")
	w.awaitClosed(KindSession)
}

// The end of a session that has MaxStreams streams is noticed, and its handlers' contexts
// end.
func TestASessionAtMaxStreamsEnds(t *testing.T) {
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
