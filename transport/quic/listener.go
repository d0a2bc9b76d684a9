package quic

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/livenet/livenet/transport"
)

// backlog is how many sessions may wait for Accept. quic-go itself refuses
// connections beyond 32, which a burst of clients exceeds before a busy accept
// loop has had its turn.
const backlog = 1024

// A listener moves sessions from quic-go's short queue to its own. It owns the
// goroutine that does so; Close waits for it.
type listener struct {
	ep       *endpoint
	inner    *quicgo.Listener
	patience time.Duration
	every    time.Duration // a peer is asked for an answer

	queue   chan transport.Session
	closing chan struct{} // Close was called
	drained chan struct{} // fill has returned, and err is set
	err     error
	once    sync.Once
}

var (
	_ transport.Listener      = (*listener)(nil)
	_ transport.IdleTimeouter = (*listener)(nil)
	_ transport.KeepAliver    = (*listener)(nil)
)

// listen listens on ep, which the listener holds from here on if there is one.
func listen(ep *endpoint, tlsConf *tls.Config, conf *quicgo.Config, unverified int) (*listener, error) {
	l := &listener{
		ep:       ep,
		patience: conf.MaxIdleTimeout,
		every:    conf.KeepAlivePeriod,
		queue:    make(chan transport.Session, backlog),
		closing:  make(chan struct{}),
		drained:  make(chan struct{}),
	}
	h := newHandshakes(unverified, l.failed)
	ep.transport.VerifySourceAddress, ep.transport.ConnContext = h.mustProve, h.begin
	var err error
	if l.inner, err = ep.transport.Listen(tlsConf, conf); err != nil {
		return nil, err
	}
	go l.fill()
	return l, nil
}

// failed hands out the session of a failed handshake, unless Accept is behind:
// nobody else is to wait for it.
func (l *listener) failed(remote net.Addr, cause error) {
	select {
	case <-l.closing: // which is why
		return
	default:
	}
	if len(l.queue) >= backlog/2 {
		return
	}
	select {
	case l.queue <- newFailedSession(l.Addr(), remote, cause):
	default:
	}
}

// fill ends when quic-go's Accept does: on Close, which hands out what it has
// queued first, or if the socket broke.
func (l *listener) fill() {
	defer close(l.drained)
	for {
		conn, err := l.inner.Accept(context.Background())
		if err != nil {
			l.err = err
			return
		}
		if !complete(conn) {
			continue // it has been handed out as failed
		}
		s := newSession(conn, l.ep)
		select {
		case l.queue <- s:
		case <-l.closing:
			refuse(s)
		}
	}
}

func (l *listener) Accept(ctx context.Context) (transport.Session, error) {
	select {
	case <-l.closing:
		return nil, l.opError(net.ErrClosed)
	default:
	}
	select { // a ready session beats a cancelled context
	case s := <-l.queue:
		return s, nil
	default:
	}
	select {
	case s := <-l.queue:
		return s, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.closing:
		return nil, l.opError(net.ErrClosed)
	case <-l.drained:
		select {
		case <-l.closing: // both, and select took the wrong one
			return nil, l.opError(net.ErrClosed)
		default:
			return nil, l.opError(gone{opaque{l.err}})
		}
	}
}

func (l *listener) opError(err error) error {
	return &net.OpError{Op: "accept", Net: network, Source: l.Addr(), Err: err}
}

func (l *listener) Addr() net.Addr { return l.ep.conn.LocalAddr() }

// Patience is the idle timeout of this end. A peer may ask for a shorter one,
// and quic-go does not tell.
func (l *listener) IdleTimeout() time.Duration { return l.patience }

// KeepAlive is the config's KeepAlivePeriod, which quic-go cuts to half of the shorter
// idle timeout.
func (l *listener) KeepAlive() time.Duration { return l.every }

// Close refuses handshakes in flight and sessions that nobody accepted. Those
// that were accepted live on, and with them the UDP socket: the last one to
// end closes it.
func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.closing)  // first, so that fill cannot block on a full queue
		l.inner.Close()   // then no session comes in any more
		<-l.drained       // and none is between the two queues
		l.refuseWaiting() // before the socket goes that tells them
		l.ep.release(0)
	})
	return nil
}

func (l *listener) refuseWaiting() {
	for {
		select {
		case s := <-l.queue:
			refuse(s)
		default:
			return
		}
	}
}

// refuse ends a session that nobody accepted.
func refuse(s transport.Session) { s.Close(0, "listener closed") }
