package liveness_test

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
)

// A goroutine that finds the write lock held leaves its control frame to the holder. The
// holder sends it, also if it was queued while the holder was flushing others.
func TestControlFramesQueuedDuringAFlushAreSent(t *testing.T) {
	for _, tt := range []struct {
		name string
		due  func(t *testing.T, peer io.Writer, heard time.Time)
		want string
	}{
		{"an answer", func(t *testing.T, peer io.Writer, _ time.Time) {
			send(t, peer, "PING\n")
		}, "PONG\n"},
		{"a probe", func(t *testing.T, _ io.Writer, heard time.Time) {
			until(heard.Add(sec + 5*ms))
		}, "PING\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := serve(t, &Server{
					Config: Config{Policy: Sliding(time.Minute, ProbeAfter(sec)), Engine: &Engine{Tick: ms}},
					Codec:  codec.Line,
					Handler: func(_ context.Context, c *Conn) {
						go c.Write([]byte("data\n"))
						io.Copy(io.Discard, c)
					},
				}, newPipes()) // on a pipe a Write takes until it is read
				defer w.end()
				sess, peer := w.dial()
				defer sess.Close(0, "")
				synctest.Wait() // the handler is writing
				send(t, peer, "PING\n")
				heard := time.Now()
				until(heard.Add(sec - ms))
				receive(t, peer, "data\n") // now it goes on with the answer
				synctest.Wait()
				tt.due(t, peer, heard)
				receive(t, peer, "PONG\n")
				peer.SetReadDeadline(time.Now().Add(sec))
				receive(t, peer, tt.want)
			})
		})
	}
}

// send writes s, and waits until the other end has handled it.
func send(t *testing.T, peer io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(peer, s); err != nil {
		t.Fatalf("writing %q: %v", s, err)
	}
	synctest.Wait()
}

func receive(t *testing.T, peer io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(peer, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got[:n], err, want)
	}
}
