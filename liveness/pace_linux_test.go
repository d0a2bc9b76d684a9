package liveness_test

import (
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
)

// A peer whose window stays zero is alive under acks, but too slow; one for which no data
// waits is neither.
func TestMinPaceEndsAZeroWindowThatAcks(t *testing.T) {
	t.Parallel()
	const timeout = LeastAckTimeout
	engine := new(Engine)
	open := func() *Conn {
		a, d := kernelPair(t)
		c := NewConn(a, &Config{Policy: Sliding(timeout), MinPace: 1000, Engine: engine})
		t.Cleanup(func() { c.Close() })
		d.Write([]byte("x"))
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	shut, idle := open(), open()
	began := time.Now()
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		for {
			if _, err := shut.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	}()
	<-shut.Done()
	if d := time.Since(began); shut.End().Reason != TooSlow || d < timeout || d > 2*timeout && engine.Stats().Stalls == 0 { // a stall extends the window
		t.Errorf("the one whose window is shut: %v after %v", shut.End(), d)
	}
	if idle.End() != nil {
		t.Errorf("the idle one: %v", idle.End())
	}
	<-writing
}

// The same holds for a parked connection.
func TestMinPaceOfAParkedConnection(t *testing.T) {
	t.Parallel()
	const timeout = LeastAckTimeout
	w := serve(t, &Server{
		Config: Config{Policy: Sliding(timeout), Evidence: codec.Acks, MinPace: 1000},
		Data: func(c *Conn, p []byte) error {
			_, err := c.Write(make([]byte, 64<<20))
			return err
		},
	}, networks(t)["parked"])
	defer w.end()
	began := time.Now()
	sess, st := w.dial()
	defer sess.Close(0, "")
	st.Write([]byte("x"))
	w.awaitClosed(KindSession)
	if e, d := w.one(KindSession).End, time.Since(began); e.Reason != TooSlow || d < timeout || d > 2*timeout && w.srv.Engine.Stats().Stalls == 0 {
		t.Errorf("%v after %v", e, d)
	}
}
