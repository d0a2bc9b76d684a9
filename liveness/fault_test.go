package liveness_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
)

// A yamuxHeader of a version, type, flags, stream and length.
func yamuxHeader(version, kind byte, flags uint16, id, length uint32) []byte {
	b := binary.BigEndian.AppendUint16([]byte{version, kind}, flags)
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, id), length)
}

const yamuxWindowUpdate, yamuxPing, yamuxSYN = 1, 2, 1

// If the transport closes the connection because of the peer's fault, the reason says
// which.
func TestRule5ATransportFaultIsTheReason(t *testing.T) {
	t.Parallel()
	streams := func(w io.Writer) { // each is answered, and the answers are not read
		for id := uint32(1); ; {
			var b []byte
			for range 1000 {
				b = append(b, yamuxHeader(0, yamuxWindowUpdate, yamuxSYN, id, 0)...)
				id += 2
			}
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	}
	once := func(b []byte) func(io.Writer) { return func(w io.Writer) { w.Write(b) } }
	for _, tt := range []struct {
		network, name string
		send          func(io.Writer)
		want          Reason
	}{
		{"yamux", "another version", once(yamuxHeader(1, yamuxPing, yamuxSYN, 0, 1)), ProtocolError},
		{"yamux", "no yamux at all", once([]byte("GET / HTTP/1.1\r\n\r\n")), ProtocolError},
		{"yamux", "pings", once(bytes.Repeat(yamuxHeader(0, yamuxPing, yamuxSYN, 0, 1), 200)), TooManyBeats},
		{"yamux", "answers that it does not read", streams, TooSlow},
		{"tls", "no TLS", once([]byte("GET / HTTP/1.1\r\n\r\n")), ProtocolError},
		{"parked-tls", "no TLS", once([]byte("GET / HTTP/1.1\r\n\r\n")), ProtocolError},
		{"yamux-tls", "no TLS", once([]byte("GET / HTTP/1.1\r\n\r\n")), ProtocolError},
	} {
		t.Run(fmt.Sprint(tt.network, "/", tt.name), func(t *testing.T) {
			t.Parallel()
			w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute)}}, networks(t)[tt.network])
			defer w.end()
			conn, err := net.Dial("tcp", w.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			go tt.send(conn)
			w.awaitClosed(KindSession)
			if end := w.one(KindSession).End; end.Reason != tt.want || end.Initiator != Local {
				t.Errorf("ended: %v, want %v", end, tt.want)
			}
		})
	}
}

// A peer may name any reason, so such ends are counted apart from those that this end
// judged.
func TestRule5ReasonsOfThePeerAreCountedApart(t *testing.T) {
	t.Parallel()
	everyNetwork(t, func(t *testing.T, n network) {
		w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute)}, Codec: codec.Auto}, n)
		defer w.end()
		c := w.client(Client{})
		say(t, c, "hello")
		c.CloseWith(FixedDeadline, "forged")
		w.awaitClosed(KindSession)
		counts := w.srv.Counts(KindSession)
		if counts.Closed[FixedDeadline] != 0 || counts.Claimed[FixedDeadline] != 1 || !w.one(KindSession).End.Claimed() {
			t.Errorf("counted: %+v", counts)
		}
	})
}
