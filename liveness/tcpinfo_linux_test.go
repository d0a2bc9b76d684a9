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
	"github.com/livenet/livenet/transport/tcp"
	"github.com/livenet/livenet/transport/transporttest"
)

// A handler that reads late does not end its peer: TCP_INFO says when the bytes arrived.
func TestRule10TCPInfoCountsUnreadInput(t *testing.T) {
	t.Parallel()
	const timeout = 300 * ms
	for name, counts := range map[string]codec.Evidence{"Bytes": codec.Bytes, "Messages": codec.Messages} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// A beat that is sent within half a timeout of the one before has
			// arrived within a timeout of it, unless the next one is late, too.
			undisturbed(t, timeout/2, func(p *pulse) error {
				a, b := tcpPair(t)
				defer b.Close()
				c := NewConn(a, &Config{Policy: Sliding(timeout), Evidence: counts, Engine: new(Engine)})
				defer c.Close()
				var last time.Time
				for start := time.Now(); time.Since(start) < 3*timeout; time.Sleep(50 * ms) {
					p.beat()
					last = time.Now()
					if _, err := b.Write([]byte("beat")); err != nil {
						return fmt.Errorf("killed, though beats arrived unread: %v", err)
					}
					if e := c.End(); e != nil {
						return fmt.Errorf("killed %v after a beat that arrived unread: %v", time.Since(last), e)
					}
				}
				p.rest()
				<-ended(c)
				if d := time.Since(last); d < timeout {
					return fmt.Errorf("ended %v after the last beat", d)
				}
				if e := c.End(); e.Reason != Silent {
					return fmt.Errorf("ended %v", e)
				}
				return nil
			})
		})
	}
}

// ended waits for a connection's end without reading from it.
func ended(c *Conn) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for c.End() == nil {
			time.Sleep(ms)
		}
	}()
	return done
}

// Before any data TCP_INFO dates the connection's start, which is no evidence.
func TestRule4OnTCPAnOpeningPhaseWithoutDataEnds(t *testing.T) {
	t.Parallel()
	a, b := tcpPair(t)
	defer b.Close()
	c := NewConn(a, &Config{Policy: Sliding(time.Minute), Opening: 200 * ms, Engine: new(Engine)})
	defer c.Close()
	<-ended(c)
	if e := c.End(); e.Reason != NoHello || e.Age < 200*ms {
		t.Errorf("ended %v", e)
	}
}

// Unread input that arrived before the accept is evidence.
func TestRule4OnTCPInputBeforeTheAcceptCounts(t *testing.T) {
	t.Parallel()
	a, b := tcpPair(t)
	defer b.Close()
	if _, err := b.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * ms) // it is to be old when the lease is granted
	c := NewConn(a, &Config{Policy: Sliding(300 * ms), Opening: 200 * ms, Engine: new(Engine)})
	defer c.Close()
	<-ended(c)
	if e := c.End(); e.Reason != Silent {
		t.Errorf("ended %v", e)
	}
}

// What an application calls Renew for may not have come on the connection, so TCP_INFO
// does not date it, not even after a stall.
func TestRule10RenewIsNotDatedByTheKernel(t *testing.T) {
	t.Parallel()
	const timeout = 500 * ms
	undisturbed(t, timeout/4, func(p *pulse) error {
		defer p.every(20 * ms)()
		a, b := tcpPair(t)
		defer b.Close()
		e := new(Engine)
		c := NewConn(a, &Config{Policy: Sliding(timeout), Engine: e})
		defer c.Close()
		if _, err := b.Write([]byte("x")); err != nil {
			return err
		}
		if _, err := c.Read(make([]byte, 1)); err != nil {
			return err
		}
		e.Grant(&holdUp{d: timeout / 2}, func(*Error) {})
		time.Sleep(timeout * 3 / 5)
		renewed := time.Now()
		if !c.Renew() {
			return fmt.Errorf("it has ended already: %v", c.End())
		}
		<-ended(c)
		if d := time.Since(renewed); d < timeout {
			return fmt.Errorf("ended %v after the application had heard of the peer: %v", d, c.End())
		}
		return nil
	})
}

// A holdUp is a policy that blocks once for some time.
type holdUp struct {
	d    time.Duration
	once sync.Once
}

func (h *holdUp) Judge(e History) Verdict {
	if e.Age < 10*ms {
		return Verdict{At: 10 * ms}
	}
	h.once.Do(func() { time.Sleep(h.d) })
	return Verdict{Dead: true, Reason: FixedDeadline, At: 10 * ms}
}

// stall blocks the engine's clock for d.
func stall(e *Engine, d time.Duration) {
	h := &holdUp{d: d}
	over := make(chan struct{})
	e.Grant(h, func(*Error) { close(over) })
	<-over
}

// Over TCP a peer that dies during a stall is not ended later because its last data is
// read late: TCP_INFO says when it arrived.
func TestRule10OnTCPAStallDoesNotDelayADeadPeersEnd(t *testing.T) {
	t.Parallel()
	const timeout, held = 1600 * ms, 2400 * ms
	// With its date it is ended as soon as it is read; without, a timeout later.
	const dated, undated = held, held + timeout
	undisturbed(t, timeout/8, func(p *pulse) error {
		defer p.every(10 * ms)()
		a, b := tcpPair(t)
		defer b.Close()
		e := new(Engine)
		c := NewConn(a, &Config{Policy: Sliding(timeout), Engine: e})
		defer c.Close()
		e.Grant(&holdUp{d: held}, func(*Error) {})
		time.Sleep(held / 4) // the clock is held up by now
		sent := time.Now()
		if _, err := b.Write([]byte("x")); err != nil {
			return err
		}
		time.Sleep(held) // and goes on
		if _, err := c.Read(make([]byte, 1)); err != nil {
			return err
		}
		<-ended(c)
		if e.Stats().Stalls > 1 {
			p.disturbed() // the machine's stalls put the end off, too
		}
		if d := time.Since(sent); d < timeout || d > (dated+undated)/2 {
			return fmt.Errorf("ended %v after the peer had died: %v", d, c.End())
		}
		return nil
	})
}

// A peer that found the receive buffer full during a stall has time to go on after it.
func TestRule10AFullReceiveBufferIsNotSilence(t *testing.T) {
	t.Parallel()
	const timeout = 400 * ms
	undisturbed(t, timeout/8, func(p *pulse) error {
		defer p.every(10 * ms)()
		a, b := tcpPair(t)
		var uploading sync.WaitGroup
		defer uploading.Wait()
		defer b.Close()
		e := new(Engine)
		c := NewConn(a, &Config{Policy: Sliding(timeout), Engine: e})
		defer c.Close()
		uploading.Go(func() {
			for piece := make([]byte, 64<<10); ; {
				if _, err := b.Write(piece); err != nil {
					return
				}
			}
		})
		some := make([]byte, 64<<10)
		if _, err := c.Read(some); err != nil {
			return err
		}
		stall(e, 3*timeout)
		time.Sleep(2 * DefaultTick) // until it is this program's turn to read
		for began := time.Now(); time.Since(began) < 2*timeout; {
			if _, err := c.Read(some); err != nil {
				return fmt.Errorf("an upload that this end has stalled: %w", err)
			}
		}
		return nil
	})
}

// Input that arrived during a stall is read before any judgement: it may have the reason
// of the peer's end.
func TestRule10AnUnreadCloseFrameIsRead(t *testing.T) {
	t.Parallel()
	const timeout = 400 * ms
	undisturbed(t, timeout/8, func(p *pulse) error {
		defer p.every(10 * ms)()
		e, resumed := new(Engine), make(chan struct{})
		w := serve(t, &Server{
			Config: Config{Policy: Sliding(timeout), Engine: e}, Codec: codec.Frame,
			Handler: func(_ context.Context, c *Conn) {
				c.Read(make([]byte, 64))
				<-resumed
				io.Copy(io.Discard, c)
			},
		}, networks(t)["tcp"])
		defer w.end()
		conn, err := net.Dial("tcp", w.addr)
		if err != nil {
			return err
		}
		io.WriteString(conn, "\xfeLN\x01"+hello+"\x02\x01x")
		time.Sleep(timeout / 4)
		io.WriteString(conn, "\x05\x00\x00") // done
		conn.(*net.TCPConn).CloseWrite()
		defer conn.Close()
		stall(e, 3*timeout)
		time.Sleep(2 * DefaultTick)
		close(resumed)
		w.awaitClosed(KindSession)
		if end := w.one(KindSession).End; end.Reason != Done || end.Initiator != Peer {
			return fmt.Errorf("ended: %v", end)
		}
		return nil
	})
}

// A server mostly answers. After a stall of the client it was not pinged for long, and
// has sent nothing.
func TestRule10AServerThatWasNotProbedIsNotSilent(t *testing.T) {
	t.Parallel()
	const timeout = 400 * ms
	undisturbed(t, timeout/8, func(p *pulse) error {
		defer p.every(10 * ms)()
		w := serve(t, &Server{Config: Config{Policy: Fixed(time.Hour), Opening: time.Hour}, Codec: codec.Frame}, networks(t)["tcp"])
		defer w.end()
		e := new(Engine)
		c := w.client(Client{Engine: e, Policy: Sliding(timeout), Beat: timeout / 4, Codec: codec.Frame})
		var reading sync.WaitGroup
		reading.Go(func() { io.Copy(io.Discard, c) })
		stall(e, 3*timeout)
		time.Sleep(2 * timeout)
		end := c.End()
		c.Close()
		reading.Wait()
		if end != nil {
			return fmt.Errorf("ended: %v", end)
		}
		return nil
	})
}

// Under TLS the bytes in TCP_INFO are those of a handshake until some input has been
// read.
func TestRule4ATLSHandshakeIsNoEvidence(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		parked   bool
		evidence codec.Evidence
	}{{true, codec.Bytes}, {false, codec.Bytes}, {true, codec.Acks}, {false, codec.Acks}} {
		t.Run(fmt.Sprintf("parked %v, evidence %d", test.parked, test.evidence), func(t *testing.T) {
			t.Parallel()
			serverTLS, _ := transporttest.Certificates(t)
			srv := &Server{Config: Config{Policy: Sliding(5 * sec), Opening: sec, Evidence: test.evidence}}
			if test.parked {
				srv.Data = echoData
			} else {
				srv.Handler = echo
			}
			w := serve(t, srv, tcp.Transport{TLS: serverTLS, Parked: test.parked})
			defer w.end()
			conn, err := net.Dial("tcp", w.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write([]byte{0x16}); err != nil {
				t.Fatal(err)
			}
			w.awaitClosed(KindSession)
			if end := w.one(KindSession).End; end.Reason != NoHello {
				t.Errorf("ended: %v", end)
			}
		})
	}
}
