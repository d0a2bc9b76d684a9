package yamux

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/livenet/livenet/transport"
)

// A broken connection can't be written to. What had arrived before can be read a moment
// later.
type broken struct {
	transport.Stream
	unread io.Reader // nil: it goes on for ever
	read   bool      // some was
	failed chan struct{}
	closed chan struct{}
	once   sync.Once
	end    sync.Once
}

func (b *broken) Reset(uint64) { b.end.Do(func() { close(b.closed) }) }

func (b *broken) Write([]byte) (int, error) {
	b.once.Do(func() { close(b.failed) })
	return 0, &transport.CloseError{Origin: transport.Peer, Reset: true}
}

func (b *broken) Read(p []byte) (int, error) {
	<-b.failed
	if b.unread != nil && !b.read {
		b.read = true
		select {
		case <-b.closed:
		case <-time.After(5 * time.Millisecond): // it is found out first that nothing can be written
		}
	} else if b.unread == nil {
		<-b.closed
	}
	select {
	case <-b.closed:
		return 0, net.ErrClosed
	default:
		return b.unread.Read(p)
	}
}

func (b *broken) SetWriteDeadline(time.Time) error { return nil }

// A brokenSession is a session whose only stream is broken.
type brokenSession struct {
	transport.Session
	conn *broken
}

func (s *brokenSession) Close(uint64, string) error {
	s.conn.Reset(0)
	return nil
}

// Rule 5: if writing fails and a Go Away can still be read, that is the session's cause.
func TestRule5GoAwayTakesPrecedenceOverAFailedWrite(t *testing.T) {
	reset := &transport.CloseError{Origin: transport.Peer, Reset: true}
	goAway := func(code uint32) io.Reader {
		return io.MultiReader(&pieces{left: goAwayFrame(code), size: 5}, failing{reset})
	}
	for name, test := range map[string]struct {
		unread io.Reader
		want   transport.CloseError
	}{
		"GoAway":   {goAway(11), transport.CloseError{Origin: transport.Peer, HasCode: true, Code: 11}},
		"done":     {goAway(0), transport.CloseError{Origin: transport.Peer, HasCode: true}},
		"nothing":  {nil, *reset},
		"reset":    {failing{reset}, *reset},
		"only EOF": {failing{io.EOF}, transport.CloseError{Origin: transport.Peer}},
	} {
		t.Run(name, func(t *testing.T) {
			conn := &broken{unread: test.unread, failed: make(chan struct{}), closed: make(chan struct{})}
			s := newSession(&brokenSession{conn: conn}, conn, client, nil)
			defer s.Close(0, "")
			if _, err := s.OpenStream(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := causeOf(t, s); *got != test.want {
				t.Errorf("ended: %+v, want %+v", *got, test.want)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
