package yamux

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/livenet/livenet/transport"
)

// Transport makes yamux sessions over the sessions of Inner, each of which has
// to be a single stream, as those of tcp.Transport are. A dialled session is
// the client in yamux's terms, and an accepted one the server.
//
// A session has a method NetConn() net.Conn that returns the stream beneath,
// for whoever wants to ask the kernel about it.
type Transport struct {
	Inner transport.Transport
}

var _ transport.Transport = Transport{}

var (
	errNoInner     = errors.New("yamux: Transport.Inner is not set")
	errMultiplexed = errors.New("yamux: the sessions of Transport.Inner carry many streams already")
)

func (t Transport) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	if t.Inner == nil {
		return nil, errNoInner
	}
	l, err := t.Inner.Listen(ctx, addr)
	if err != nil {
		return nil, err
	}
	return listener{l}, nil
}

// Dial does not wait for a sign that the peer speaks yamux: there is none.
func (t Transport) Dial(ctx context.Context, addr string) (transport.Session, error) {
	if t.Inner == nil {
		return nil, errNoInner
	}
	inner, err := t.Inner.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	if inner.Multiplexed() {
		inner.Close(0, "")
		return nil, errMultiplexed
	}
	stream, err := inner.OpenStream(ctx)
	if err != nil {
		inner.Close(0, "")
		return nil, err
	}
	return newSession(inner, stream, client), nil
}

// A listener waits for nothing but the connection: what its peer has to say is
// read by the session.
type listener struct {
	inner transport.Listener
}

var _ transport.Impatient = listener{}

func (l listener) Accept(ctx context.Context) (transport.Session, error) {
	for {
		inner, err := l.inner.Accept(ctx)
		if err != nil {
			return nil, err
		}
		if inner.Multiplexed() {
			inner.Close(0, "")
			return nil, errMultiplexed
		}
		// The one stream of a session is there at once. If it is not, then the
		// session has ended already, and is nobody's loss.
		stream, err := inner.AcceptStream(ctx)
		if err == nil {
			return newSession(inner, stream, server), nil
		}
		inner.Close(0, "")
	}
}

func (l listener) Addr() net.Addr { return l.inner.Addr() }
func (l listener) Close() error   { return l.inner.Close() }

// Patience is that of the connections, since yamux itself never gives up.
func (l listener) Patience() time.Duration {
	if i, ok := transport.As[transport.Impatient](l.inner); ok {
		return i.Patience()
	}
	return 0
}
