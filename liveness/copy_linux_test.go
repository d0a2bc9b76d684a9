package liveness_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	. "github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport/tcp"
)

// What WriteTo was copying from has ended: that is its error, though it was found out
// within the kernel's copying.
func TestRule8WriteToSaysWhyItsSourceEnded(t *testing.T) {
	out, to := kernelPair(t)
	copied := make(chan error, 1)
	w := serve(t, &Server{
		Config: Config{Policy: Sliding(10 * sec)},
		Handler: func(_ context.Context, c *Conn) {
			_, err := c.WriteTo(out)
			copied <- err
		},
	}, tcp.Transport{})
	defer w.end()
	sess, from := w.dial()
	defer sess.Close(0, "")
	go from.Write(make([]byte, 1<<30))
	// The first makes the kernel's buffers large. When there is no room in them, what is
	// copied at a time is more than goes on after the rest.
	for _, n := range []int64{64 << 20, 4 << 20, 4 << 20} {
		io.CopyN(io.Discard, to, n)
		for was := int64(-1); was != in(w); time.Sleep(200 * ms) {
			was = in(w)
		}
	}
	for s := range w.srv.Sessions() {
		s.CloseWith(Kicked, "")
	}
	go io.Copy(io.Discard, to)
	if err := <-copied; !errors.Is(err, Kicked) {
		t.Errorf("%T %v", err, err)
	}
}

func in(w *world) (n int64) {
	for s := range w.srv.Sessions() {
		n = s.Stats().BytesIn
	}
	return n
}
