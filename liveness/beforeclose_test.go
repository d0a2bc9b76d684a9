package liveness_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
)

// heardPipe returns a connection under p whose peer has been heard.
func heardPipe(t *testing.T, p Policy) (c *Conn, peer net.Conn) {
	t.Helper()
	a, peer := net.Pipe()
	c = NewConn(a, &Config{Policy: p, Engine: new(Engine)})
	go peer.Write([]byte("x"))
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return c, peer
}

func TestBeforeClose(t *testing.T) {
	end := func(end func(*Conn)) func(*Conn, net.Conn) { return func(c *Conn, _ net.Conn) { end(c) } }
	wait := end(func(c *Conn) { time.Sleep(20 * sec) })
	tests := []struct {
		name   string
		policy Policy
		end    func(*Conn, net.Conn)
		told   string
		reason Reason
	}{
		{"a deadline", Fixed(10 * sec), wait, "fixed-deadline", FixedDeadline},
		{"CloseWith", Sliding(10 * sec), end(func(c *Conn) { c.CloseWith(Kicked, "") }), "kicked", Kicked},
		{"a session's CloseWith", Sliding(10 * sec), end(func(c *Conn) { c.Session().CloseWith(Overload, "") }), "overload", Overload},
		{"Close", Sliding(10 * sec), end(func(c *Conn) { c.Close() }), "", Done},
		{"silence", Sliding(10 * sec), wait, "", Silent},
		{"the peer's end", Sliding(10 * sec), func(c *Conn, peer net.Conn) { peer.Close(); c.Read(make([]byte, 1)); c.Close() }, "", PeerClosed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c, peer := heardPipe(t, tt.policy)
				c.BeforeClose(func(e *Error) {
					if c.End() != nil {
						t.Error("it has ended before")
					}
					io.WriteString(c, e.Reason.String())
					c.Close() // as libraries do; the reason stays
				})
				told := make(chan string)
				go func() {
					b, _ := io.ReadAll(peer)
					told <- string(b)
				}()
				tt.end(c, peer)
				<-c.Done()
				if got := <-told; got != tt.told || c.End().Reason != tt.reason {
					t.Errorf("peer got %q, ended %v; want %q, %v", got, c.End(), tt.told, tt.reason)
				}
			})
		})
	}
}

// With a codec, what BeforeClose's function writes goes out before the Close frame.
func TestBeforeCloseWithACodec(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		client, server, stop := framedPair(t, newPipes(), codec.Frame)
		defer stop()
		server.BeforeClose(func(*Error) { io.WriteString(server, "bye") })
		server.Session().CloseWith(Kicked, "")
		if b, err := io.ReadAll(client); string(b) != "bye" || !errors.Is(err, Kicked) {
			t.Errorf("%q, %v", b, err)
		}
	})
}

// A function that blocks delays its own connection by a second, and no other.
func TestRule14BeforeCloseIsBounded(t *testing.T) {
	const conns = 1000
	inBubble(t, func(t *testing.T) {
		began := time.Now()
		stuck := make(chan struct{})
		defer close(stuck)
		ends := make(chan *Error)
		for range conns {
			c, _ := heardPipe(t, Fixed(10*sec))
			c.BeforeClose(func(*Error) { <-stuck })
			go func() { <-c.Done(); ends <- c.End() }()
		}
		for range conns {
			if e := <-ends; e.Reason != FixedDeadline {
				t.Fatal(e)
			}
		}
		if took := time.Since(began); took < 11*sec || took > 11*sec+3*DefaultTick {
			t.Errorf("the last one ended after %v", took)
		}
	})
}

// The first reason stays, whatever happens before the function returns.
func TestRule5BeforeCloseKeepsTheReason(t *testing.T) {
	for name, second := range map[string]func(*Conn){
		"CloseWith": func(c *Conn) { c.CloseWith(Overload, "") },
		"a reset":   func(c *Conn) { c.NetConn().Close(); c.Read(make([]byte, 1)) },
		"silence":   func(c *Conn) { <-c.Done() },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c, _ := heardPipe(t, Sliding(sec/2))
				c.BeforeClose(func(*Error) { second(c) })
				if c.CloseWith(Kicked, ""); c.End().Reason != Kicked {
					t.Errorf("ended %v", c.End())
				}
			})
		})
	}
}

// onePipe is a listener of one connection.
type onePipe struct{ net.Conn }

func (l onePipe) Accept() (net.Conn, error) { return l.Conn, nil }
func (l onePipe) Addr() net.Addr            { return l.LocalAddr() }
func (l onePipe) Close() error              { return nil }

func TestBeforeCloseAtShutdown(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, peer := net.Pipe()
		l := NewListener(onePipe{a}, &Config{Policy: Sliding(10 * sec), Engine: new(Engine)})
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c := accepted.(*Conn)
		c.BeforeClose(func(e *Error) { io.WriteString(c, e.Reason.String()) })
		go func() {
			io.WriteString(peer, "x")
			if b, _ := io.ReadAll(peer); string(b) != "draining" {
				t.Errorf("peer got %q", b)
			}
		}()
		c.Read(make([]byte, 1))
		ctx, cancel := context.WithTimeout(t.Context(), sec)
		defer cancel()
		if err := l.Shutdown(ctx); err != context.DeadlineExceeded {
			t.Error(err)
		}
		if e := c.End(); e == nil || e.Reason != Draining {
			t.Errorf("ended %v when Shutdown returned", e)
		}
	})
}

// A server that ends at once gives it its time, too.
func TestBeforeCloseWhenAServerCloses(t *testing.T) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for name, end := range map[string]func(*world){
		"Close":                       func(w *world) { w.srv.Close() },
		"Shutdown in a context's end": func(w *world) { w.srv.Shutdown(ended) },
		"Close after the drain's time": func(w *world) {
			w.stop()
			time.Sleep(5*sec + 10*ms)
			w.srv.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := serve(t, &Server{
					Config: Config{Policy: Sliding(time.Hour)}, Codec: codec.Frame,
					Handler: func(_ context.Context, c *Conn) {
						c.BeforeClose(func(*Error) {
							time.Sleep(100 * ms)
							io.WriteString(c, "bye")
						})
						io.Copy(io.Discard, c)
					},
				}, newPipes())
				c := w.client(Client{})
				io.WriteString(c, "x")
				synctest.Wait()
				go end(w)
				if b, err := io.ReadAll(c); string(b) != "bye" || !errors.Is(err, Draining) {
					t.Errorf("%q, %v", b, err)
				}
				c.Close()
				w.end()
			})
		})
	}
}

// The deadline has passed, and nobody judges it any more.
func TestBeforeCloseThatEndsItsGoroutine(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, _ := heardPipe(t, Fixed(10*sec))
		c.BeforeClose(func(*Error) { runtime.Goexit() })
		select {
		case <-c.Done():
		case <-time.After(time.Minute):
			t.Error("it stays for ever")
			c.Close()
		}
	})
}

// A function that panics doesn't end the process, nor change the reason: the log has it.
func TestBeforeCloseThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close()
		var log bytes.Buffer
		c := NewConn(a, &Config{Policy: Fixed(sec), Engine: new(Engine), ErrorLog: slog.New(slog.NewTextHandler(&log, nil))})
		go b.Write([]byte("x"))
		c.Read(make([]byte, 1))
		c.BeforeClose(func(*Error) { panic("on purpose") })
		<-c.Done()
		if e := c.End(); e.Reason != FixedDeadline || !strings.Contains(log.String(), "on purpose") {
			t.Errorf("ended %v; the log: %s", e, log.String())
		}
	})
}
