package liveness

import (
	"context"
	"crypto/tls"
	"errors"
	"iter"
	"net"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/transport"
)

// A Session is one peer, from its accept or dial to its end: over TCP one connection,
// over QUIC and yamux a connection with all its streams. Its methods may be called by any
// goroutine, also after its end.
type Session state

// SessionStats are the figures of a session, or a stream, at one moment.
type SessionStats struct {
	Age      time.Duration // since the accept, or the dial
	Silence  time.Duration // since the peer was last heard, to a tick
	Deadline time.Time     // of the session, if the peer is not heard again; zero: it has none
	RTT      time.Duration // 0: not known
	Beats    int64         // received
	BytesIn  int64         // of the application and of framing
	BytesOut int64
}

func (s *Session) state() *state { return (*state)(s) }

// ID returns the ID that events give the session. No two sessions of a process have the
// same.
func (s *Session) ID() uint64 { return s.id }

// LocalAddr returns the local address.
func (s *Session) LocalAddr() net.Addr {
	local, _ := s.owner.addrs()
	return local
}

// RemoteAddr returns the peer's address now: a QUIC client's may change.
func (s *Session) RemoteAddr() net.Addr {
	_, remote := s.owner.addrs()
	return remote
}

// Policy returns the name of the policy that judges the session; empty if none does.
func (s *Session) Policy() string {
	if p := s.policy.Load(); p != nil {
		return describe(p)
	}
	return ""
}

// Stats returns the session's figures.
func (s *Session) Stats() SessionStats { return s.state().stats() }

// PeerHello returns the peer's Hello; nil if none has come, or the session has several
// streams: then [Conn.PeerHello] returns each stream's.
func (s *Session) PeerHello() *codec.Hello {
	if c, ok := s.owner.(*Conn); ok {
		return c.PeerHello()
	}
	return nil
}

// TLS returns the state of the session's TLS; nil if it has none, or the peer was not heard
// yet.
func (s *Session) TLS() *tls.ConnectionState {
	if s.in.Load() == 0 { // ConnectionState would wait for a handshake
		return nil
	}
	for conn := s.owner.transportConn(); conn != nil; {
		if t, ok := conn.(interface{ ConnectionState() tls.ConnectionState }); ok {
			state := t.ConnectionState()
			return &state
		}
		wrapped, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		conn = wrapped.NetConn()
	}
	return nil
}

// SetPolicy replaces the session's policy. The opening phase stays as it was. The peer
// isn't told: a client goes on to beat at the first policy's interval. SetPolicy fails if p
// is nil or doesn't fit the Config's Evidence or MinPace, and if the session has no policy.
func (s *Session) SetPolicy(p Policy) error { return s.state().setPolicy(p) }

// CloseWith ends the session and its streams for r. It sends r and text to the peer if the
// codec or the transport can. It waits neither for the peer nor for the function that
// [Conn.BeforeClose] set.
func (s *Session) CloseWith(r Reason, text string) {
	s.state().endAfterHook(ending{Error: Error{Reason: r, Text: text}, abrupt: r.abrupt(), async: true})
}

// Done returns a channel that is closed when the session has ended; End says why.
func (s *Session) Done() <-chan struct{} { return s.state().signal().closed.c }

// End returns why the session ended; nil while it is open.
func (s *Session) End() *Error { return s.state().endError() }

// OpenStream opens one more stream to the peer. It has no codec: its bytes are the
// application's. It ends with the session at the latest. On a transport whose session is
// one stream it fails with [transport.ErrSingleStream], and after the session's end with
// the session's [*Error].
func (s *Session) OpenStream(ctx context.Context) (*Conn, error) {
	return s.stream(ctx, transport.Session.OpenStream)
}

// AcceptStream waits for a stream that the peer opens, and is otherwise like OpenStream. It
// fails for a session of a Server, whose Handler gets these streams.
func (s *Session) AcceptStream(ctx context.Context) (*Conn, error) {
	if _, ok := s.owner.(*multiSession); ok {
		return nil, errors.New("liveness: the server's handler gets the streams of its sessions")
	}
	return s.stream(ctx, transport.Session.AcceptStream)
}

func (s *Session) stream(ctx context.Context, get func(transport.Session, context.Context) (transport.Stream, error)) (*Conn, error) {
	sess := s.owner.session()
	if sess == nil || !sess.Multiplexed() {
		return nil, transport.ErrSingleStream
	}
	stream, err := get(sess, ctx)
	if err != nil {
		if e := s.End(); e != nil {
			return nil, e
		}
		return nil, err
	}
	c := &Conn{stream: stream, multiplexed: true}
	c.bits.Store(noHandler)
	c.state.cfg, c.state.owner, c.state.parent = s.cfg, c, s.state()
	if x, ok := s.owner.(*multiSession); ok {
		c.srv = x.srv
	}
	if !c.begin() {
		stream.Close()
		return nil, s.End()
	}
	c.register()
	c.state.announceThen(func() {})
	return c, nil
}

// Sessions returns the sessions that are open now, in no particular order.
func (s *Server) Sessions() iter.Seq[*Session] {
	return func(yield func(*Session) bool) {
		s.mu.Lock()
		all := s.sessions.all()
		s.mu.Unlock()
		for _, st := range all {
			if st.phase.Load() < closing && !yield((*Session)(st)) {
				return
			}
		}
	}
}

// Session returns the session with that ID; nil if there is none, or it has ended.
func (s *Server) Session(id uint64) *Session {
	for x := range s.Sessions() {
		if x.ID() == id {
			return x
		}
	}
	return nil
}

// Session returns the session that the connection is, or is a stream of.
func (c *Conn) Session() *Session {
	if c.state.parent != nil {
		return (*Session)(c.state.parent)
	}
	return (*Session)(&c.state)
}
