package liveness_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
)

// A client whose output is blocked does not expire a server that has filled its window,
// and judges it again when it reads on.
func TestRule10AClientThatDoesNotReadDoesNotJudge(t *testing.T) {
	t.Parallel()
	const timeout = 300 * ms
	everyNetwork(t, func(t *testing.T, n network) {
		for _, beats := range []bool{true, false} {
			t.Run(fmt.Sprint("beats=", beats), func(t *testing.T) {
				t.Parallel()
				release := make(chan struct{})
				w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute)}, Codec: codec.Frame, Handler: func(ctx context.Context, c *Conn) {
					c.Read(make([]byte, 1)) // a deadline within the handshake of TLS would end it
					go io.Copy(io.Discard, c)
					for ctx.Err() == nil {
						select {
						case <-release:
							<-ctx.Done()
						default:
							c.SetWriteDeadline(time.Now().Add(50 * ms))
							c.Write(make([]byte, 64<<10))
						}
					}
				}}, n)
				defer w.end()
				client := Client{NoBeat: true, Policy: Sliding(timeout)}
				if beats {
					client = Client{Beat: timeout / 3, Policy: Sliding(timeout, ProbeAfter(timeout/3))}
				}
				c := w.client(client)
				defer c.Close()
				io.WriteString(c, "x")
				time.Sleep(4 * timeout)
				if e := c.End(); e != nil {
					t.Fatalf("ended while nobody read: %v", e)
				}
				close(release) // from here on the server says nothing of its own accord
				var reading sync.WaitGroup
				reading.Go(func() { io.Copy(io.Discard, c) })
				if beats {
					time.Sleep(4 * timeout)
					if e := c.End(); e != nil {
						t.Errorf("ended though the server answers: %v", e)
					}
					c.Close()
				}
				reading.Wait()
				if e := c.End(); !beats && (e == nil || e.Reason != Silent) {
					t.Errorf("read on, and ended: %v", e)
				}
			})
		}
	})
}

// A server whose handler does not read does not expire a client that has data to send.
func TestRule10AHandlerThatDoesNotReadDoesNotJudge(t *testing.T) {
	t.Parallel()
	const timeout = 300 * ms
	for _, name := range []string{"tcp", "tls", "parked", "parked-tls"} {
		for _, byData := range []bool{false, true} {
			t.Run(fmt.Sprint(name, "/", byData), func(t *testing.T) {
				t.Parallel()
				seen := make(chan *Error, 1)
				srv := &Server{Config: Config{Policy: Sliding(timeout)}, Codec: codec.Frame}
				full := make(chan struct{})
				stand := func(c *Conn) {
					<-full
					time.Sleep(4 * timeout)
					seen <- c.End()
				}
				if byData {
					var once sync.Once
					srv.Data = func(c *Conn, _ []byte) error { once.Do(func() { stand(c) }); return nil }
				} else {
					srv.Handler = func(_ context.Context, c *Conn) {
						c.Read(make([]byte, 1))
						stand(c)
						io.Copy(io.Discard, c)
					}
				}
				w := serve(t, srv, networks(t)[name])
				defer w.end()
				c := w.client(Client{NoBeat: true, Policy: Sliding(time.Minute)})
				io.WriteString(c, "x")
				time.Sleep(50 * ms)
				for n := 1; n > 0; { // until there is no more room
					c.SetWriteDeadline(time.Now().Add(timeout / 2))
					n, _ = c.Write(make([]byte, 1<<20))
				}
				close(full)
				if e := <-seen; e != nil {
					t.Errorf("ended while the handler did not read: %v", e)
				}
				c.Read(make([]byte, 1))
				c.Close()
				w.awaitClosed(KindSession)
			})
		}
	}
}

// A peer that reads nothing for the timeout is too slow if data waits for it, and silent
// if not.
func TestRule5APeerThatNeverReadsIsTooSlow(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"tcp", "tls", "parked", "parked-tls"} {
		for reason, handler := range map[Reason]func(context.Context, *Conn){TooSlow: echo, Silent: func(_ context.Context, c *Conn) { io.Copy(io.Discard, c) }} {
			for _, code := range []codec.Codec{codec.Raw, codec.Frame} {
				t.Run(fmt.Sprint(name, "/", code.Name(), "/", reason), func(t *testing.T) {
					t.Parallel()
					w := serve(t, &Server{Config: Config{Policy: Sliding(3 * sec)}, Codec: code, Handler: handler}, networks(t)[name])
					defer w.end()
					c := w.client(Client{NoBeat: true, Policy: Sliding(time.Minute), Codec: code})
					defer c.Close()
					c.SetWriteDeadline(time.Now().Add(400 * ms))
					for err := error(nil); err == nil; {
						_, err = c.Write(make([]byte, 1<<20))
					}
					w.awaitClosed(KindSession)
					if e := w.one(KindSession); e.End.Reason != reason || e.End.Initiator != Local || e.Late > sec {
						t.Errorf("ended %v, %v late", e.End, e.Late)
					}
				})
			}
		}
	}
}

// Input from a peer that does not read is not taken for messages: it will never be read.
func TestRule2APeerThatNeverReadsIsJudged(t *testing.T) {
	t.Parallel()
	for _, counts := range []codec.Evidence{codec.Messages, codec.Beats} {
		for _, name := range []string{"tcp", "parked"} {
			t.Run(fmt.Sprint(name, counts), func(t *testing.T) {
				t.Parallel()
				w := serve(t, &Server{Config: Config{Policy: Sliding(500 * ms), Evidence: counts}, Codec: codec.Frame}, networks(t)[name])
				defer w.end()
				conn, err := net.Dial("tcp", w.addr)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				io.WriteString(conn, "\xfeLN\x01"+hello)
				data := append([]byte{2, 0x80, 0x80, 0x40}, make([]byte, 1<<20)...)
				conn.SetWriteDeadline(time.Now().Add(400 * ms))
				for err == nil {
					_, err = conn.Write(data)
				}
				conn.SetWriteDeadline(time.Time{})
				ended := make(chan struct{})
				go func() { w.awaitClosed(KindSession); close(ended) }()
				for range 100 {
					select {
					case <-ended:
						return
					case <-time.After(50 * ms):
						conn.SetWriteDeadline(time.Now().Add(ms))
						conn.Write([]byte{0})
					}
				}
				t.Error("a peer that never reads is never judged")
			})
		}
	}
}
