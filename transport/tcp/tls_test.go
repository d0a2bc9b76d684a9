package tcp_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/tcp"
	"github.com/livenet/livenet/transport/transporttest"
)

// Rule 14: a client that does not finish its handshake is accepted, and delays no other.
func TestRule14AStalledHandshakeDelaysNoOther(t *testing.T) {
	serverTLS, clientTLS := transporttest.Certificates(t)
	l, session, stuck, _ := rawPeer(t, tcp.Transport{TLS: serverTLS})
	stuck.SetDeadline(time.Time{})
	reading := make(chan error, 1)
	go func() { reading <- readOne(stuck) }()

	opened, accepted := connect(t, tcp.Transport{TLS: clientTLS}, l)
	if _, err := accepted.Write([]byte{0}); err != nil {
		t.Error(err)
	}
	if err := readOne(opened); err != nil {
		t.Error(err)
	}
	select {
	case err := <-reading:
		t.Errorf("Read of the stuck stream: %v", err)
	default:
	}
	session.Close(0, "")
	if err := <-reading; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read of the stuck stream: %v, want net.ErrClosed", err)
	}
}

// A failed handshake is an error of its stream and ends its session.
func TestFailedHandshakeEndsItsSession(t *testing.T) {
	serverTLS, clientTLS := transporttest.Certificates(t)
	for _, test := range []struct {
		name string
		peer func(t *testing.T, raw *net.TCPConn)
		want transport.Origin
	}{
		{"Garbage", func(t *testing.T, raw *net.TCPConn) {
			io.WriteString(raw, "GET / HTTP/1.1\r\n\r\n")
		}, transport.Lost},
		{"Distrust", func(t *testing.T, raw *net.TCPConn) {
			if err := tls.Client(raw, &tls.Config{ServerName: "127.0.0.1"}).Handshake(); err == nil {
				t.Error("the client trusts any certificate")
			}
		}, transport.Lost},
		{"FIN", func(t *testing.T, raw *net.TCPConn) { raw.Close() }, transport.Peer},
		{"RST", func(t *testing.T, raw *net.TCPConn) {
			raw.SetLinger(0)
			raw.Close()
		}, transport.Peer},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, session, stream, raw := rawPeer(t, tcp.Transport{TLS: serverTLS})
			acted := make(chan struct{})
			go func() {
				defer close(acted)
				test.peer(t, raw)
			}()
			err := readOne(stream)
			<-acted
			ce, ok := errors.AsType[*transport.CloseError](err)
			if !ok || ce.Origin != test.want {
				t.Errorf("Read: %v, want origin %v", err, test.want)
			}
			if cause := context.Cause(session.Context()); cause != err {
				t.Errorf("cause %v, want %v", cause, err)
			}
			connect(t, tcp.Transport{TLS: clientTLS}, l)
		})
	}
}

// No reset follows the alert while the client, which believes to be connected, still
// sends: its kernel might drop the one for the other.
func TestTheAlertIsNotOvertaken(t *testing.T) {
	serverTLS, clientTLS := transporttest.Certificates(t)
	serverTLS = serverTLS.Clone()
	serverTLS.ClientAuth = tls.RequireAnyClientCert
	clientTLS.ServerName = "127.0.0.1"
	_, _, stream, raw := rawPeer(t, tcp.Transport{TLS: serverTLS})
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		readOne(stream)
		stream.Close()
	}()
	client := tls.Client(raw, clientTLS)
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	var alert *net.OpError
	if err := readOne(client); !errors.As(err, &alert) || alert.Op != "remote error" {
		t.Errorf("Read: %v, want the alert", err)
	}
	for range 1000 {
		if _, err := raw.Write(make([]byte, 10)); err != nil {
			t.Fatalf("Write after the alert: %v", err)
		}
	}
	if n, err := io.Copy(io.Discard, raw); err != nil {
		t.Errorf("Read after the alert: %d bytes, %v", n, err)
	}
	raw.Close()
	<-closed
}

// A deadline during the handshake ends the session, since crypto/tls can't resume it. The
// error is no timeout.
func TestDeadlineDuringHandshakeEndsTheSession(t *testing.T) {
	serverTLS, _ := transporttest.Certificates(t)
	_, session, stream, _ := rawPeer(t, tcp.Transport{TLS: serverTLS})
	stream.SetReadDeadline(time.Now().Add(time.Millisecond))
	err := readOne(stream)
	if ce, ok := errors.AsType[*transport.CloseError](err); !ok || ce.Origin != transport.Lost || ce.Timeout() {
		t.Errorf("Read: %v, want the session lost", err)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read: %v does not say why", err)
	}
	if cause := context.Cause(session.Context()); cause != err {
		t.Errorf("cause %v, want %v", cause, err)
	}
}

// Cancelling Dial's context interrupts the handshake and closes the connection.
func TestDialHandshakeCancelled(t *testing.T) {
	_, clientTLS := transporttest.Certificates(t)
	l := listen(t, tcp.Transport{}) // a plain server, which never answers the ClientHello
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dialled := make(chan error, 1)
	go func() {
		_, err := tcp.Transport{TLS: clientTLS}.Dial(ctx, l.Addr().String())
		dialled <- err
	}()
	_, accepted := accept(t, l)
	if err := readOne(accepted); err != nil {
		t.Errorf("reading the ClientHello: %v", err)
	}
	cancel()
	if err := <-dialled; !errors.Is(err, context.Canceled) {
		t.Errorf("Dial: %v, want context.Canceled", err)
	}
	if _, err := io.Copy(io.Discard, accepted); err != nil {
		t.Errorf("reading to EOF: %v", err)
	}
}

// Close of a connection whose peer does not read returns soon.
func TestTLSCloseWithAPeerThatDoesNotRead(t *testing.T) {
	t.Parallel()
	serverTLS, clientTLS := transporttest.Certificates(t)
	_, accepted := connect(t, tcp.Transport{TLS: clientTLS}, listen(t, tcp.Transport{TLS: serverTLS}))
	fill(t, accepted)
	start := time.Now()
	if err := accepted.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	// crypto/tls alone takes five.
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("Close took %v", took)
	}
}

// Close waits less if writing has been blocked for some time already.
func TestTLSCloseCountsTheTimeAlreadyBlocked(t *testing.T) {
	t.Parallel()
	serverTLS, clientTLS := transporttest.Certificates(t)
	const closeNotifyTimeout = 100 * time.Millisecond
	best := closeNotifyTimeout
	for try := 0; try < 5 && best >= closeNotifyTimeout/2; try++ { // a busy machine may make any one of them longer
		_, accepted := connect(t, tcp.Transport{TLS: clientTLS}, listen(t, tcp.Transport{TLS: serverTLS}))
		fill(t, accepted)
		time.Sleep(closeNotifyTimeout)
		start := time.Now()
		accepted.Close()
		best = min(best, time.Since(start))
	}
	if best >= closeNotifyTimeout/2 {
		t.Errorf("Close took %v", best)
	}
}

// Rule 8: the bytes that Write returns as written arrive once and in order, however many
// deadlines interrupt it.
func TestRule8TLSSurvivesWriteDeadlines(t *testing.T) {
	t.Parallel()
	serverTLS, clientTLS := transporttest.Certificates(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			serverTLS := serverTLS.Clone()
			serverTLS.MaxVersion = version
			opened, accepted := connect(t, tcp.Transport{TLS: clientTLS}, listen(t, tcp.Transport{TLS: serverTLS}))
			socket(opened).SetWriteBuffer(16 << 10)
			accepted.SetDeadline(time.Time{})

			var got []byte
			reading := make(chan error, 1)
			go func() {
				var err error
				got, err = io.ReadAll(accepted)
				reading <- err
			}()
			random := rand.New(rand.NewPCG(1, uint64(version)))
			block := make([]byte, 256<<10)
			for i := range block {
				block[i] = byte(random.Uint32())
			}
			var counted []byte
			cut := 0
			for len(counted) < 4<<20 && len(reading) == 0 {
				p := block[random.IntN(len(block)):]
				opened.SetWriteDeadline(time.Now().Add(time.Duration(random.IntN(200)) * time.Microsecond))
				n, err := opened.Write(p)
				counted = append(counted, p[:n]...)
				if err != nil {
					if !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Fatalf("Write: %v", err)
					}
					cut++
				}
			}
			opened.SetWriteDeadline(time.Time{})
			if err := opened.CloseWrite(); err != nil {
				t.Fatalf("CloseWrite: %v", err)
			}
			if err := <-reading; err != nil || !bytes.Equal(got, counted) {
				t.Errorf("read %d bytes, %v; %d were counted as written", len(got), err, len(counted))
			}
			t.Logf("cut off %d times", cut)
			if cut == 0 {
				t.Error("no deadline ever passed: this test shows nothing")
			}
		})
	}
}

// CloseWrite succeeds although the deadline of an earlier Write has passed, if there is
// room.
func TestTLSCloseWriteAfterDeadline(t *testing.T) {
	serverTLS, clientTLS := transporttest.Certificates(t)
	opened, accepted := connect(t, tcp.Transport{TLS: clientTLS}, listen(t, tcp.Transport{TLS: serverTLS}))
	opened.SetWriteDeadline(time.Now().Add(-time.Second))
	if err := opened.CloseWrite(); err != nil {
		t.Errorf("CloseWrite: %v", err)
	}
	if err := readOne(accepted); err != io.EOF {
		t.Errorf("Read: %v, want EOF", err)
	}
}

// A CloseWrite that timed out can be repeated, like a Write.
func TestTLSCloseWriteAgainAfterATimeout(t *testing.T) {
	t.Parallel()
	serverTLS, clientTLS := transporttest.Certificates(t)
	opened, accepted := connect(t, tcp.Transport{TLS: clientTLS}, listen(t, tcp.Transport{TLS: serverTLS}))
	fill(t, accepted)
	if err := accepted.CloseWrite(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("CloseWrite: %v, want os.ErrDeadlineExceeded", err)
	}
	read := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, opened)
		read <- err
	}()
	accepted.SetWriteDeadline(time.Time{})
	if err := accepted.CloseWrite(); err != nil {
		t.Errorf("CloseWrite again: %v", err)
	}
	if err := <-read; err != nil {
		t.Errorf("reading to EOF: %v", err)
	}
	if _, err := opened.Write([]byte{0}); err != nil {
		t.Errorf("the other direction: %v", err)
	}
	if err := readOne(accepted); err != nil {
		t.Errorf("the other direction: %v", err)
	}
}

// Rule 12: Close sends what a CloseWrite that timed out left unsent, if there is room.
func TestRule12TLSCloseSendsWhatIsUnsent(t *testing.T) {
	t.Parallel()
	serverTLS, clientTLS := transporttest.Certificates(t)
	opened, accepted := connect(t, tcp.Transport{TLS: clientTLS}, listen(t, tcp.Transport{TLS: serverTLS}))
	opened.SetDeadline(time.Now().Add(maxWait))
	counted := fill(t, accepted)
	if err := accepted.CloseWrite(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("CloseWrite: %v, want os.ErrDeadlineExceeded", err)
	}
	// Reading all but the last records makes room for those.
	early, err := io.CopyN(io.Discard, opened, int64(counted-16<<10))
	if err != nil {
		t.Fatal(err)
	}
	if err := accepted.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	late, err := io.Copy(io.Discard, opened)
	if got := int(early + late); err != nil || got != counted {
		t.Errorf("read %d bytes, %v; %d were counted as written", got, err, counted)
	}
}

// fill writes until the deadline passes for want of room, and returns how much it has
// written. The deadline stays set, and a part of a record is unsent.
func fill(t *testing.T, st transport.Stream) (written int) {
	t.Helper()
	// A single timeout may be due to a busy machine.
	for stuck := 0; stuck < 3; {
		st.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		n, err := st.Write(make([]byte, 64<<10))
		written += n
		switch {
		case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
			t.Fatalf("Write: %v", err)
		case n > 0:
			stuck = 0
		default:
			stuck++
		}
	}
	return written
}
