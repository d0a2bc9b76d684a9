package yamux

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/livenet/livenet/transport"
)

// Transport makes yamux sessions over the sessions of Inner, each of which has to be a
// single stream, as those of tcp.Transport are. A dialled session is a yamux client, an
// accepted one a yamux server.
//
// A session has a method NetConn() net.Conn that returns the underlying stream, for callers
// that read TCP_INFO.
type Transport struct {
	Inner  transport.Transport
	Config *Config
}

var (
	errNoInner     = errors.New("yamux: Transport.Inner is not set")
	errMultiplexed = errors.New("yamux: the sessions of Transport.Inner carry many streams already")
)

// Listen makes a listener of Inner's. It fails if Inner is nil or can't listen.
func (t Transport) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	if t.Inner == nil {
		return nil, errNoInner
	}
	l, err := t.Inner.Listen(ctx, addr)
	if err != nil {
		return nil, err
	}
	return listener{l, t.Config}, nil
}

// Dial dials a session of Inner. It fails if Inner is nil, can't dial, or carries many streams
// already. It does not check that the peer speaks yamux: the protocol has no handshake.
func (t Transport) Dial(ctx context.Context, addr string) (transport.Session, error) {
	if t.Inner == nil {
		return nil, errNoInner
	}
	inner, err := t.Inner.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return over(ctx, inner, inner.OpenStream, client, t.Config)
}

// over makes a session over inner, whose only stream it gets by calling stream.
func over(ctx context.Context, inner transport.Session, stream func(context.Context) (transport.Stream, error), role uint32, config *Config) (transport.Session, error) {
	err := errMultiplexed
	if !inner.Multiplexed() {
		var conn transport.Stream
		if conn, err = stream(ctx); err == nil {
			return newSession(inner, conn, role, config), nil
		}
	}
	inner.Close(0, "")
	return nil, err
}

type listener struct {
	inner  transport.Listener
	config *Config
}

// Accept skips inner sessions that have ended already.
func (l listener) Accept(ctx context.Context) (transport.Session, error) {
	for {
		inner, err := l.inner.Accept(ctx)
		if err != nil {
			return nil, err
		}
		s, err := over(ctx, inner, inner.AcceptStream, server, l.config)
		if err == nil || err == errMultiplexed {
			return s, err
		}
	}
}

func (l listener) Addr() net.Addr { return l.inner.Addr() }
func (l listener) Close() error   { return l.inner.Close() }

// IdleTimeout is that of the inner listener, or 0.
func (l listener) IdleTimeout() time.Duration {
	if i, ok := transport.As[transport.IdleTimeouter](l.inner); ok {
		return i.IdleTimeout()
	}
	return 0
}
