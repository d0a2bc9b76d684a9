package transport_test

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livenet/livenet/transport"
)

// Rule 12: input that arrives just before Close and is never read causes no reset. The
// peer reads all that was written, and EOF.
func TestRule12UnreadInputAtCloseCausesNoReset(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	here := accepted.(*net.TCPConn)
	s := transport.Single(&lateConn{TCPConn: here, late: func() {
		peer.Write([]byte("late"))
		awaitUnread(t, here, 4)
	}})
	st, err := s.OpenStream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	st.Write([]byte("words"))
	s.Close(0, "")
	if got, err := io.ReadAll(peer); err != nil || string(got) != "words" {
		t.Errorf("the peer gets %q, %v", got, err)
	}
}

// A lateConn calls late when Read first returns EOF.
type lateConn struct {
	*net.TCPConn
	once sync.Once
	late func()
}

func (c *lateConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if err == io.EOF {
		c.once.Do(c.late)
	}
	return n, err
}

// awaitUnread waits until n bytes lie unread in c.
func awaitUnread(t *testing.T, c *net.TCPConn, n int) {
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		unread := 0
		raw.Control(func(fd uintptr) { unread, err = unix.IoctlGetInt(int(fd), unix.SIOCINQ) })
		if err != nil {
			t.Fatal(err)
		}
		if unread >= n {
			return
		}
	}
	t.Error("nothing has come")
}
