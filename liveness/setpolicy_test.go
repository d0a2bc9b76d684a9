package liveness_test

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/livenet/livenet/liveness"
)

// A new policy judges at once: a peer that is silent for longer than it allows ends, and
// one that would have ended stays.
func TestSetPolicyJudgesOpenSessions(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		conn := func(p Policy) *Conn {
			a, b := net.Pipe()
			t.Cleanup(func() { b.Close() })
			c := NewConn(a, &Config{Policy: p, Engine: new(Engine)})
			go b.Write([]byte("x"))
			c.Read(make([]byte, 1))
			return c
		}
		short, long := conn(Sliding(time.Hour)), conn(Sliding(4*sec))
		time.Sleep(3 * sec)
		if err := short.Session().SetPolicy(Sliding(2 * sec)); err != nil {
			t.Error(err)
		}
		if err := long.Session().SetPolicy(Sliding(10 * sec)); err != nil {
			t.Error(err)
		}
		began := time.Now()
		<-short.Done()
		if d := time.Since(began); d > 2*DefaultTick || short.End().Reason != Silent {
			t.Errorf("after %v: %v", d, short.End())
		}
		<-long.Done()
		if d := time.Since(began); d < 7*sec || d > 7*sec+2*DefaultTick {
			t.Errorf("the longer one ended after %v", d)
		}
	})
}

// A server's new policy applies to the open sessions and to those to come.
func TestServerSetPolicy(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		tr := memory()
		l, err := tr.Listen(t.Context(), "a:1")
		if err != nil {
			t.Fatal(err)
		}
		ends := make(chan *Error, 2)
		srv := &Server{
			Config: Config{Policy: Sliding(time.Hour), Engine: new(Engine), Events: func(e Event) {
				if e.What == Closed && e.Kind == KindSession {
					ends <- e.End
				}
			}},
			Handler: func(_ context.Context, c *Conn) { io.Copy(io.Discard, c) },
		}
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error)
		go func() { served <- srv.Serve(ctx, l) }()
		open := func() {
			sess, err := tr.Dial(ctx, l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			st, err := sess.OpenStream(ctx)
			if err != nil {
				t.Fatal(err)
			}
			st.Write([]byte("x"))
		}
		open()
		time.Sleep(sec)
		if err := srv.SetPolicy(Sliding(2 * sec)); err != nil {
			t.Error(err)
		}
		open()
		began := time.Now()
		for i, want := range []time.Duration{sec, 2 * sec} {
			e := <-ends
			if d := time.Since(began); e.Reason != Silent || d < want || d > want+3*DefaultTick {
				t.Errorf("session %d: %v after %v", i, e, d)
			}
		}
		if srv.SetPolicy(nil) == nil {
			t.Error("no policy was taken for one")
		}
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// It may be called while Serve begins.
func TestServerSetPolicyBeforeServe(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		tr := memory()
		l, err := tr.Listen(t.Context(), "a:1")
		if err != nil {
			t.Fatal(err)
		}
		srv := &Server{Config: Config{Policy: Sliding(time.Hour), Engine: new(Engine)}, Handler: echo}
		go srv.SetPolicy(Sliding(time.Minute))
		served := make(chan error)
		go func() { served <- srv.Serve(t.Context(), l) }()
		time.Sleep(sec)
		srv.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// slowPolicy is a policy that takes its time when it is set.
type slowPolicy struct {
	Policy
	asked chan struct{}
	calls *atomic.Int32
}

func (p slowPolicy) Deadline(History) time.Duration {
	if p.calls.Add(1) == 2 { // the server has it, and the session has not
		close(p.asked)
		time.Sleep(50 * ms)
	}
	return time.Minute
}

// Of two policies that are set at once, the sessions keep the one that the server keeps.
func TestServerSetPolicyTwiceAtOnce(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	l := NewListener(onePipe{a}, &Config{Policy: Sliding(time.Hour), Engine: new(Engine)})
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	slow := slowPolicy{Sliding(time.Minute), make(chan struct{}), new(atomic.Int32)}
	var first sync.WaitGroup
	first.Go(func() { l.SetPolicy(slow) })
	<-slow.asked
	l.SetPolicy(Sliding(2 * time.Minute))
	first.Wait()
	if got := c.(*Conn).Session().Policy(); got != "sliding 2m0s" {
		t.Errorf("the session is judged by %v", got)
	}
}
