package tcp_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/tcp"
	"github.com/livenet/livenet/transport/transporttest"
)

var (
	errPreamble = errors.New("it is not four bytes of a")
	proxied     = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1234}
)

// fourBytes is a Preamble that wants "aaaa".
func fourBytes(c net.Conn) (net.Addr, error) {
	b := make([]byte, 4)
	if _, err := io.ReadFull(c, b); err != nil {
		return nil, err
	}
	if string(b) != "aaaa" {
		return nil, errPreamble
	}
	return proxied, nil
}

// A preamble comes before the peer's own bytes, and before TLS; none of these is lost, and
// its address is the peer's from then on.
func TestPreamble(t *testing.T) {
	serverTLS, clientTLS := transporttest.Certificates(t)
	for name, conf := range map[string]*tls.Config{"plain": nil, "TLS": serverTLS} {
		for _, parked := range []bool{false, true} {
			l := listen(t, tcp.Transport{TLS: conf, Preamble: fourBytes, Parked: parked})
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, st := accept(t, l)
			if got := st.RemoteAddr().String(); got != conn.LocalAddr().String() {
				t.Errorf("%s: before the preamble the peer is %s", name, got)
			}
			go func() {
				io.WriteString(conn, "aaaa")
				c := conn
				if conf != nil {
					clientTLS.ServerName = "localhost"
					c = tls.Client(conn, clientTLS)
				}
				io.WriteString(c, "hello")
			}()
			b := make([]byte, 5)
			if _, err := io.ReadFull(st, b); err != nil || string(b) != "hello" {
				t.Errorf("%s: got %q, %v", name, b, err)
			}
			if st.RemoteAddr().String() != proxied.String() {
				t.Errorf("%s: the peer is %v", name, st.RemoteAddr())
			}
		}
	}
}

// One that fails is the end of its connection; so is one that a deadline cuts short, since
// a Read that is tried again would not find it. One that does not come holds up no Accept,
// and ends with the connection.
func TestPreambleFails(t *testing.T) {
	l := listen(t, tcp.Transport{Preamble: fourBytes})
	for _, words := range []string{"bbbb", "aa", ""} {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, words)
		session, st := accept(t, l)
		b := make([]byte, 1)
		switch words {
		case "bbbb":
			for range 2 {
				_, err := st.Read(b)
				if _, ended := errors.AsType[*transport.CloseError](err); !ended || !errors.Is(err, errPreamble) {
					t.Errorf("%q: %v", words, err)
				}
			}
		case "aa":
			st.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			_, err := st.Read(b)
			st.SetReadDeadline(time.Time{})
			if e, ended := errors.AsType[*transport.CloseError](err); !ended || e.Origin != transport.Lost || session.Context().Err() == nil {
				t.Errorf("%q: %v", words, err)
			}
		default:
			st.SetReadDeadline(time.Time{})
			read := make(chan error, 1)
			go func() { _, err := st.Read(b); read <- err }()
			session.Close(0, "")
			if err := <-read; !errors.Is(err, net.ErrClosed) {
				t.Errorf("%q: %v", words, err)
			}
		}
	}
}
