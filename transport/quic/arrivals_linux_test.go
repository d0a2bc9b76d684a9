package quic

import (
	"cmp"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/livenet/livenet/transport/transporttest"
)

// udpPair returns a stamped socket, whose arrivals know the other one.
func udpPair(t *testing.T) (c *stampedConn, from *net.UDPConn, p *peer) {
	t.Helper()
	var conns [2]*net.UDPConn
	for i := range conns {
		var err error
		conns[i], err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conns[i].Close() })
	}
	c, ok := stamped(&socket{udpConn: conns[0]}, new(arrivals)).(*stampedConn)
	if !ok {
		t.Fatal("the kernel does not stamp")
	}
	p = c.arrivals.enter(addrPort(conns[1].LocalAddr()))
	// The first one on the machine to ask for stamps waits for the kernel to begin.
	for end := time.Now().Add(10 * time.Second); ; {
		send(t, conns[1], c, 1)
		time.Sleep(2 * lateness)
		read := time.Since(start)
		if readBatch(t, c, 1); p.last < read {
			return c, conns[1], p
		}
		if time.Now().After(end) {
			t.Fatal("the kernel does not stamp")
		}
	}
}

func send(t *testing.T, from *net.UDPConn, to *stampedConn, n int) {
	t.Helper()
	for range n {
		if _, err := from.WriteTo(short('x'), to.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
}

// messages are what quic-go reads into.
func messages() []ipv4.Message {
	ms := make([]ipv4.Message, 8)
	for i := range ms {
		ms[i].Buffers = [][]byte{make([]byte, 1500)}
		ms[i].OOB = make([]byte, 128)
	}
	return ms
}

func readBatch(t *testing.T, c *stampedConn, want int) []ipv4.Message {
	t.Helper()
	ms := messages()
	n, err := c.ReadBatch(ms, 0)
	if n != want || err != nil {
		t.Fatalf("read %d datagrams of %d, %v", n, want, err)
	}
	return ms[:n]
}

// What is read late has arrived when it arrived.
func TestWhatIsReadLateIsDatedByTheKernel(t *testing.T) {
	const late = 100 * time.Millisecond
	c, from, p := udpPair(t)
	since := time.Since(start)
	send(t, from, c, 3)
	time.Sleep(late)
	latest := time.Since(start) - late
	readBatch(t, c, 3)
	if p.last < since || p.last > latest {
		t.Errorf("dated to %v, and it was sent between %v and %v", p.last, since, latest)
	}
	if !c.known(p) || c.arrivals.anyone != 0 {
		t.Errorf("known: %v, anyone's: %v; want true, 0", c.known(p), c.arrivals.anyone)
	}
}

func (c *stampedConn) known(p *peer) bool { return !c.arrivals.last(p, p.addr).IsZero() }

// As long as more of what has come is to be read, nobody knows who has sent what.
// An empty datagram is more, too.
func TestUntilAllIsReadNothingIsKnown(t *testing.T) {
	c, from, p := udpPair(t)
	send(t, from, c, 8)
	if _, err := from.WriteTo(nil, c.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	send(t, from, c, 7)
	time.Sleep(2 * lateness)
	if c.known(p) {
		t.Error("known before anything was read")
	}
	if readBatch(t, c, 8); c.known(p) {
		t.Error("known when half was read")
	}
	if readBatch(t, c, 8); !c.known(p) {
		t.Error("not known when all was read")
	}
	send(t, from, c, 9)
	time.Sleep(2 * lateness)
	if readBatch(t, c, 8); c.known(p) {
		t.Error("known with one datagram left")
	}
	if readBatch(t, c, 1); !c.known(p) {
		t.Error("not known with none")
	}
}

// A stall may come between reading and taking note of it: then all was read before
// the stall, and not by now.
func TestAStallBeforeItIsNoted(t *testing.T) {
	c, from, p := udpPair(t)
	send(t, from, c, 1)
	ms := messages()
	c.lend(ms)
	if n, err := c.batches.ReadBatch(ms, 0); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	send(t, from, c, 1)
	time.Sleep(2 * lateness)
	c.note(ms[:1], true)
	c.taking.unlock()
	if c.known(p) {
		t.Error("known, with one datagram left that has come since")
	}
}

// What the kernel had no room for may have been anyone's, at any time until now.
func TestWhatWasDroppedIsAnyones(t *testing.T) {
	c, from, _ := udpPair(t)
	if err := c.SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	send(t, from, c, 100)
	time.Sleep(2 * lateness)
	now := time.Since(start)
	for c.unread() {
		if n, err := c.ReadBatch(messages(), 0); n <= 0 || err != nil {
			t.Fatal(n, err)
		}
	}
	if c.arrivals.anyone < now {
		t.Errorf("anyone's last came at %v, want at least %v", c.arrivals.anyone, now)
	}
	before := c.arrivals.anyone
	send(t, from, c, 1)
	time.Sleep(2 * lateness)
	if readBatch(t, c, 1); c.arrivals.anyone != before {
		t.Error("dropped once, and told twice")
	}
}

// They may be dropped until the very moment when that is noticed; whoever is read
// late, or nobody knows when.
func TestWhatIsDroppedMeanwhileIsAnyones(t *testing.T) {
	for name, setBack := range map[string]time.Duration{"late": 0, "at a time that isn't known": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			c, from, _ := udpPair(t)
			c.clock.least += setBack
			c.clock.lead += setBack
			c.clock.before += setBack
			if err := c.SetReadBuffer(4 << 10); err != nil {
				t.Fatal(err)
			}
			send(t, from, c, 1)
			time.Sleep(2 * lateness)
			ms := messages()
			c.lend(ms)
			if n, err := c.batches.ReadBatch(ms, 0); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			send(t, from, c, 100)
			now := time.Since(start)
			c.note(ms[:1], true)
			c.taking.unlock()
			if c.arrivals.anyone < now {
				t.Errorf("anyone's last came at %v, want at least %v", c.arrivals.anyone, now)
			}
		})
	}
}

// Quic-go gets what it asked the kernel for, and no stamps.
func TestQuicGoSeesNoStamps(t *testing.T) {
	c, from, _ := udpPair(t)
	var err error
	c.raw.Control(func(fd uintptr) {
		err = cmp.Or(
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVTOS, 1),
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	send(t, from, c, 2)
	time.Sleep(2 * lateness)
	for _, m := range readBatch(t, c, 2) {
		if len(m.OOB) != 128 {
			t.Errorf("%d bytes for control messages, want quic-go's own 128", len(m.OOB))
		}
		all, err := unix.ParseSocketControlMessage(m.OOB[:m.NN])
		types := map[int32]bool{}
		for _, one := range all {
			types[one.Header.Type] = one.Header.Level == unix.IPPROTO_IP && len(one.Data) > 0
		}
		if err != nil || len(all) != 2 || !types[unix.IP_TOS] || !types[unix.IP_PKTINFO] {
			t.Errorf("control messages %+v, %v", all, err)
		}
	}
}

// However the wall clock is set, if but once between two looks: nothing is dated to
// before it arrived. And to no later either, if nobody sets it.
func TestTheWallClockMakesNothingOlder(t *testing.T) {
	const most = 8
	type datagram struct {
		at   time.Duration
		wall int64
	}
	for _, sets := range []bool{true, false} {
		rng := rand.New(rand.NewPCG(1, 2))
		var c wallClock
		var queue []datagram
		now, lead := time.Hour, time.Duration(1e18)
		set := false
		pass := func() { // some time, in which things may happen
			for range rng.IntN(4) {
				now += time.Duration(rng.ExpFloat64() * float64(10*time.Millisecond))
				switch n := rng.IntN(100); {
				case n < 50:
					queue = append(queue, datagram{now, int64(now + lead)})
				case n == 50: // a stall
					now += time.Duration(rng.Int64N(int64(3 * time.Minute)))
				case n == 51 && sets && !set:
					lead += time.Duration(rng.NormFloat64() * float64(time.Minute))
					set = true
				}
			}
		}
		c.look(now, int64(now+lead), true)
		for range 200_000 {
			pass()
			if len(queue) == 0 {
				continue
			}
			read := queue[:min(len(queue), most)]
			queue = queue[len(read):]
			pass() // between reading and looking
			c.look(now, int64(now+lead), len(read) < most)
			set = false
			for _, d := range read {
				if at := c.when(d.wall); at < d.at || !sets && at > d.at {
					t.Fatalf("what came at %v is dated to %v", d.at, at)
				}
			}
		}
	}
}

// An accepted session knows when something last came, and that it was not
// before it was sent.
func TestLastArrival(t *testing.T) {
	client, server, l := pair(t)
	opened, err := client.OpenStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	if _, err := opened.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := server.AcceptStream(t.Context()); err != nil {
		t.Fatal(err)
	}
	if at := awaitArrival(t, server); at.Before(before) || at.After(time.Now()) {
		t.Errorf("at the server: %v after it was sent", at.Sub(before))
	}
	if at := client.LastArrival(); !at.IsZero() {
		t.Errorf("known at the client: %v", at)
	}

	_, strangerTLS := transporttest.Certificates(t) // which do not know the server's
	if s, err := (Transport{TLS: strangerTLS}).Dial(t.Context(), l.Addr().String()); err == nil {
		s.Close(0, "")
		t.Fatal("the handshake did not fail")
	}
	client.Close(0, "")
	wait(t, server.ctx.Done())
	for deadline := time.Now().Add(10 * time.Second); l.ep.live() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are known still", l.ep.live())
		}
	}
}

// awaitArrival waits until it is known when something last came.
func awaitArrival(t *testing.T, s *session) time.Time {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if at := s.LastArrival(); !at.IsZero() {
			return at
		}
	}
	t.Fatal("nobody knows when something last came")
	return time.Time{}
}

// live counts the connections of which the arrivals know.
func (e *endpoint) live() (n int) {
	e.arrivals.mu.Lock()
	defer e.arrivals.mu.Unlock()
	for _, p := range e.arrivals.peers {
		n += p.conns
	}
	return n
}

// Of a client that has moved on purpose nothing is known any more. Until quic-go
// tells, what it says from its new address has not come before it was sent.
func TestLastArrivalOfAClientThatMoves(t *testing.T) {
	serverTLS, clientTLS := transporttest.Certificates(t)
	clientTLS.NextProtos = []string{ALPN}
	l, err := Transport{TLS: serverTLS}.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var from [2]*quicgo.Transport
	for i := range from {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		from[i] = &quicgo.Transport{Conn: conn}
		defer from[i].Close()
	}
	client, err := from[0].Dial(t.Context(), l.Addr(), clientTLS, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseWithError(0, "")
	accepted, err := l.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	server := accepted.(*session)
	old := server.RemoteAddr().String()
	before := time.Now()
	path, err := client.AddPath(from[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := path.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if at := awaitArrival(t, server); at.Before(before) {
		t.Errorf("its probe came %v before it was sent", before.Sub(at))
	}
	if err := path.Switch(); err != nil {
		t.Fatal(err)
	}
	out, err := client.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	before = time.Now()
	if _, err := out.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := server.AcceptStream(t.Context()); err != nil {
		t.Fatal(err)
	}
	if at := server.LastArrival(); !at.IsZero() && at.Before(before) {
		t.Errorf("what it said came %v before it was said", before.Sub(at))
	}
	for deadline := time.Now().Add(10 * time.Second); server.RemoteAddr().String() == old; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the server does not see that it has moved")
		}
	}
	if at := server.LastArrival(); !at.IsZero() {
		t.Errorf("known, though it has moved: %v", at)
	}
}
