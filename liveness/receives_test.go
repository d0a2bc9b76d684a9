package liveness_test

import (
	"context"
	"io"
	"sync"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport/quic"
)

// Under acks a peer that sends one byte and then only receives, or is idle, stays open
// for several timeouts, on every transport and with a Handler or Data; under bytes it
// does not.
func TestRule2AcksKeepAReceivingPeer(t *testing.T) {
	t.Parallel()
	const timeout = LeastAckTimeout
	stop := make(chan struct{})
	var worlds []*world
	alive := make(map[string]*world)
	for name, n := range networks(t) {
		if q, ok := n.server.(quic.Transport); ok {
			q.Config = &quicgo.Config{KeepAlivePeriod: timeout / 3}
			n.server = q
		}
		for kind, byData := range map[string]bool{"Handler": false, "Data": true} {
			for what, test := range map[string]struct {
				evidence codec.Evidence
				every    time.Duration // the server sends; 0: it does not
			}{"idle": {codec.Acks, 0}, "receives": {codec.Acks, timeout / 20}, "bytes": {codec.Bytes, timeout / 20}} {
				srv := &Server{Config: Config{Policy: Sliding(timeout), Evidence: test.evidence}, Codec: codec.Raw}
				if byData {
					srv.Data = func(c *Conn, _ []byte) error {
						if test.every > 0 {
							go sendEvery(c, test.every, stop)
						}
						return nil
					}
				} else {
					srv.Handler = func(_ context.Context, c *Conn) {
						if test.every > 0 {
							go sendEvery(c, test.every, stop)
						}
						io.Copy(io.Discard, c)
					}
				}
				w := serve(t, srv, n)
				worlds = append(worlds, w)
				if test.evidence == codec.Acks {
					alive[name+", "+kind+", "+what] = w
				}
				sess, st := w.dial()
				defer sess.Close(0, "")
				if _, err := st.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
				go io.Copy(io.Discard, st)
			}
		}
	}
	<-time.After(timeout * 9 / 4)
	for name, w := range alive {
		if ends := w.closed(KindSession); len(ends) > 0 {
			t.Errorf("%s: ended %v", name, ends[0].End)
		}
	}
	close(stop)
	var ending sync.WaitGroup
	defer ending.Wait()
	for _, w := range worlds {
		ending.Go(func() {
			if w.srv.Evidence == codec.Bytes {
				w.awaitClosed(KindSession)
				if list := w.closed(KindSession); list[0].End.Reason != Silent {
					t.Errorf("under bytes it ended %v", list[0].End)
				}
			}
			w.end()
		})
	}
}

// sendEvery sends a byte at an interval until c ends or stop is closed.
func sendEvery(c *Conn, every time.Duration, stop <-chan struct{}) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for err := error(nil); err == nil; {
		select {
		case <-tick.C:
			_, err = c.Write([]byte("x"))
		case <-stop:
			return
		}
	}
}
