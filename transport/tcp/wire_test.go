package tcp

import (
	"errors"
	"net"
	"os"
	"testing"

	"github.com/livenet/livenet/transport"
)

// fullConn is a connection whose peer does not read: it has room for a few
// bytes more, and after that its deadline passes.
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

// Nothing of what the wire took is lost or changes its order.
func TestWireKeeps(t *testing.T) {
	conn := &fullConn{room: 2}
	w := newWire(conn)
	if n, err := w.Write([]byte("1234")); n != 2 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write within the handshake: %d, %v", n, err)
	}
	w.keep.Store(true)
	conn.room = 1
	for _, p := range []string{"567", "89"} {
		if n, err := w.Write([]byte(p)); n != len(p) || err != nil {
			t.Errorf("Write: %d, %v; crypto/tls is to be told that all is well", n, err)
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

// A peer that asks for answer after answer, such as for key updates, and reads
// none of them, can't make the wire keep them all.
func TestWireBound(t *testing.T) {
	w := newWire(new(fullConn))
	w.keep.Store(true)
	var err error
	for kept := 0; err == nil; kept += 100 {
		if kept > maxRest {
			t.Fatalf("%d bytes are kept", kept)
		}
		_, err = w.Write(make([]byte, 100))
	}
	if ce, ok := errors.AsType[*transport.CloseError](err); !ok || ce.Origin != transport.Lost {
		t.Errorf("Write: %v, want the session lost", err)
	}
}

// A takesNothing connection has a Write that waits until it is let go.
type takesNothing struct {
	net.Conn
	writing chan struct{}
	let     chan struct{}
}

func (c takesNothing) Write(p []byte) (int, error) {
	c.writing <- struct{}{}
	<-c.let
	return len(p), nil
}

// A Write that is under way may be for ever: of an answer, from within a Read. Whoever
// closes must not wait for it before there is a deadline.
func TestStuckDoesNotWait(t *testing.T) {
	conn := takesNothing{writing: make(chan struct{}), let: make(chan struct{})}
	w := &wire{Conn: conn}
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Write([]byte("an answer"))
	}()
	<-conn.writing
	if d := w.stuck(); d != 0 {
		t.Errorf("stuck for %v", d)
	}
	close(conn.let)
	<-done
}
