package tcp

import (
	"errors"
	"net"
	"os"
	"testing"

	"github.com/livenet/livenet/transport"
)

// A fullConn is a connection whose peer does not read: Write takes room bytes, and then
// returns a timeout.
type fullConn struct {
	net.Conn
	room int
	sent []byte
}

func (c *fullConn) Write(p []byte) (int, error) {
	n := min(c.room, len(p))
	c.room -= n
	c.sent = append(c.sent, p[:n]...)
	if n < len(p) {
		return n, os.ErrDeadlineExceeded
	}
	return n, nil
}

// What a timeout left unsent is sent later, in order.
func TestWireSendsUnsentBytesInOrder(t *testing.T) {
	conn := &fullConn{room: 2}
	w := newWire(conn)
	if n, err := w.Write([]byte("1234")); n != 2 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write within the handshake: %d, %v", n, err)
	}
	w.buffering.Store(true)
	conn.room = 1
	for _, p := range []string{"567", "89"} {
		if n, err := w.Write([]byte(p)); n != len(p) || err != nil {
			t.Errorf("Write: %d, %v; crypto/tls must not see a timeout", n, err)
		}
	}
	if err := w.flush(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("flush: %v", err)
	}
	conn.room = 10
	if err := w.flush(); err != nil {
		t.Errorf("flush: %v", err)
	}
	if n, err := w.Write([]byte("0")); n != 1 || err != nil {
		t.Errorf("Write: %d, %v", n, err)
	}
	if got := string(conn.sent); got != "1256789"+"0" {
		t.Errorf("sent %q", got)
	}
}

// A peer that provokes answers, such as to key updates, and reads none of them, can't make
// the wire buffer them without limit.
func TestWireBufferIsBounded(t *testing.T) {
	w := newWire(new(fullConn))
	w.buffering.Store(true)
	var err error
	for kept := 0; err == nil; kept += 100 {
		if kept > maxUnsent {
			t.Fatalf("%d bytes are kept", kept)
		}
		_, err = w.Write(make([]byte, 100))
	}
	if ce, ok := errors.AsType[*transport.CloseError](err); !ok || ce.Origin != transport.Lost {
		t.Errorf("Write: %v, want the session lost", err)
	}
}

// A blockedConn is a connection whose Write blocks until release is closed.
type blockedConn struct {
	net.Conn
	writing chan struct{}
	release chan struct{}
}

func (c blockedConn) Write(p []byte) (int, error) {
	c.writing <- struct{}{}
	<-c.release
	return len(p), nil
}

// blockedFor does not wait for a Write under way: Close calls it before it sets a deadline,
// and a Write from within a Read may block for ever.
func TestWireBlockedForDoesNotWaitForAWrite(t *testing.T) {
	conn := blockedConn{writing: make(chan struct{}), release: make(chan struct{})}
	w := &wire{Conn: conn}
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Write([]byte("an answer"))
	}()
	<-conn.writing
	if d := w.blockedFor(); d != 0 {
		t.Errorf("blocked for %v", d)
	}
	close(conn.release)
	<-done
}
