package liveness_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

// withContext serves one connection, on both kinds of transport, with a handler that uses
// its context. The context ends with the connection.
func withContext(t *testing.T, p Policy, handler func(context.Context, *Conn)) {
	bothKinds(t, func(t *testing.T, tr transport.Transport) {
		w := serve(t, &Server{Config: Config{Policy: p}, Codec: codec.Raw, Handler: handler}, tr)
		sess, st := w.dial()
		st.Write([]byte("x"))
		w.awaitClosed(KindSession)
		sess.Close(0, "")
		w.end()
	})
}

// The context has the connection's end as its cause, whether it is first used before the
// end or after it.
func TestContextEndsWithTheConnection(t *testing.T) {
	for name, before := range map[string]func(context.Context) context.Context{
		"not used before": func(ctx context.Context) context.Context { return ctx },
		"used Done":       func(ctx context.Context) context.Context { ctx.Done(); return ctx },
		"used Err": func(ctx context.Context) context.Context {
			if err := ctx.Err(); err != nil {
				t.Error("before the end:", err)
			}
			return ctx
		},
		"a child": func(ctx context.Context) context.Context {
			ctx, cancel := context.WithCancel(ctx)
			context.AfterFunc(ctx, cancel)
			return ctx
		},
	} {
		t.Run(name, func(t *testing.T) {
			withContext(t, Sliding(sec), func(ctx context.Context, c *Conn) {
				ctx = before(ctx)
				for {
					if _, err := c.Read(make([]byte, 8)); err != nil {
						break
					}
				}
				if err := ctx.Err(); err != context.Canceled {
					t.Errorf("Err is %v", err)
				}
				select {
				case <-ctx.Done():
				default:
					t.Error("Done is open")
				}
				var e *Error
				if cause := context.Cause(ctx); !errors.As(cause, &e) || e != c.End() {
					t.Errorf("the cause is %v, the end %v", cause, c.End())
				}
			})
		})
	}
}

func TestContextHasTheServersValues(t *testing.T) {
	type key struct{}
	bothKinds(t, func(t *testing.T, tr transport.Transport) {
		got := make(chan any, 1)
		srv := &Server{Config: Config{Policy: Sliding(time.Hour), Engine: new(Engine)}, Drain: sec, Handler: func(ctx context.Context, c *Conn) {
			if _, ok := ctx.Deadline(); ok {
				t.Error("it ends with Serve's")
			}
			got <- ctx.Value(key{})
			<-ctx.Done()
		}}
		l, err := tr.Listen(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(context.WithValue(t.Context(), key{}, "value"), time.Hour)
		var serving sync.WaitGroup
		serving.Go(func() { srv.Serve(ctx, l) })
		sess, err := tr.Dial(t.Context(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		st, err := sess.OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		st.Write([]byte("x"))
		if v := <-got; v != "value" {
			t.Errorf("the value is %v", v)
		}
		stop()
		serving.Wait()
		sess.Close(0, "")
	})
}

// The same holds if it is first used while the connection ends.
func TestContextUsedWhileTheConnectionEnds(t *testing.T) {
	const (
		conns  = 200
		askers = 10
	)
	inBubble(t, func(t *testing.T) {
		w := serve(t, &Server{Config: Config{Policy: Sliding(sec)}, Handler: func(ctx context.Context, c *Conn) {
			var asking sync.WaitGroup
			for i := range askers {
				asking.Go(func() {
					time.Sleep(time.Until(c.Deadline()) + time.Duration(i)*2*ms) // it is judged within two ticks
					<-ctx.Done()
					if err := ctx.Err(); err != context.Canceled {
						t.Errorf("Err is %v", err)
					}
				})
			}
			asking.Wait()
		}}, newPipes())
		for range conns {
			sess, _ := w.dial()
			defer sess.Close(0, "")
		}
		time.Sleep(2 * sec)
		w.end()
	})
}
