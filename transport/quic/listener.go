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

// backlog is how many sessions may wait for Accept. quic-go refuses connections beyond 32,
// which a burst of clients exceeds before a busy accept loop runs.
const backlog = 1024

// A listener moves sessions from quic-go's short queue to its own. It owns the goroutine
// that does so; Close waits for it.
type listener struct {
	ep          *endpoint
	inner       *quicgo.Listener
	idleTimeout time.Duration
	keepAlive   time.Duration

	queue   chan transport.Session
	closing chan struct{} // closed by Close
	drained chan struct{} // closed when fill has returned; err is set then
	err     error
	once    sync.Once
}

var (
	_ transport.Listener      = (*listener)(nil)
	_ transport.IdleTimeouter = (*listener)(nil)
	_ transport.KeepAliver    = (*listener)(nil)
)

// listen listens on ep. On success the listener owns the caller's reference to ep.
func listen(ep *endpoint, tlsConf *tls.Config, conf *quicgo.Config, unverified int) (*listener, error) {
	l := &listener{
		ep:          ep,
		idleTimeout: conf.MaxIdleTimeout,
		keepAlive:   conf.KeepAlivePeriod,
		queue:       make(chan transport.Session, backlog),
		closing:     make(chan struct{}),
		drained:     make(chan struct{}),
	}
	h := newHandshakes(unverified, l.failed)
	ep.transport.VerifySourceAddress, ep.transport.ConnContext = h.requireRetry, h.begin
	var err error
	if l.inner, err = ep.transport.Listen(tlsConf, conf); err != nil {
		return nil, err
	}
	go l.fill()
	return l, nil
}

// failed queues the session of a failed handshake for Accept. If half of the queue is used,
// it drops it, so that there is room for good sessions.
func (l *listener) failed(remote net.Addr, cause error) {
	select {
	case <-l.closing: // the handshake failed because of Close
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

// fill moves sessions until quic-go's Accept fails: after Close, when its queue is empty,
// or because the socket broke.
func (l *listener) fill() {
	defer close(l.drained)
	for {
		conn, err := l.inner.Accept(context.Background())
		if err != nil {
			l.err = err
			return
		}
		if !complete(conn) {
			continue // it is queued as failed
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
		case <-l.closing: // both channels were closed
			return nil, l.opError(net.ErrClosed)
		default:
			return nil, l.opError(listenerFailed{opaque{l.err}})
		}
	}
}

func (l *listener) opError(err error) error {
	return &net.OpError{Op: "accept", Net: network, Source: l.Addr(), Err: err}
}

func (l *listener) Addr() net.Addr { return l.ep.conn.LocalAddr() }

// IdleTimeout is this end's idle timeout. The peer's may be shorter; quic-go does not
// report it.
func (l *listener) IdleTimeout() time.Duration { return l.idleTimeout }

// KeepAlive is Config.KeepAlivePeriod. quic-go cuts it to half of the shorter idle timeout.
func (l *listener) KeepAlive() time.Duration { return l.keepAlive }

// Close refuses handshakes under way and sessions not yet accepted. Accepted sessions stay
// open, and so does the UDP socket until the last of them has ended.
func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.closing)  // first, so that fill can't block on a full queue
		l.inner.Close()   // no more sessions come in
		<-l.drained       // and none is between the two queues
		l.refuseWaiting() // while the socket is still open
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

// refuse closes a session that was not accepted.
func refuse(s transport.Session) { s.Close(0, "listener closed") }
